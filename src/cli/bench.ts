/** `forwardpass bench`: how fast a model runs here, and where the time goes. */
import type { StepInfo } from "../graph/session.ts";
import { fromF64 } from "../tensor/convert.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Shape } from "../tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../tensor/tensor.ts";
import { type Command, deviceOptions, positional, wholeNumber } from "./command.ts";
import { loadModel, outputOption } from "./model.ts";
import { counted, formatBytes, formatMs, table } from "./progress.ts";
import { readInputs } from "./run.ts";
import { estimate, shapeOption, shapesOf } from "./shapes.ts";

export const bench: Command = {
  name: "bench",
  summary: "measure a model's speed: load, first run, median of many; --profile shows each step",
  usage: "MODEL [--input NAME=FILE ...] [options]",
  options: {
    input: {
      type: "string",
      short: "i",
      multiple: true,
      value: "NAME=FILE",
      help: "real inputs; random ones otherwise",
    },
    shape: shapeOption,
    output: outputOption,
    runs: { type: "string", value: "N", help: "timed runs; default 20" },
    profile: { type: "boolean", help: "time each step and list them with GFLOP/s and GB/s, slowest first" },
    ...deviceOptions,
    json: { type: "boolean", help: "print as JSON" },
  },
  examples: ["forwardpass bench model.onnx --threads 1", "forwardpass bench model.onnx --profile"],
  async run(args, io) {
    const runs = wholeNumber(args, "runs", 20, 1);
    const started = performance.now();
    const model = await loadModel(positional(args, 0, "MODEL"), args, io);
    const loadMs = performance.now() - started;
    const given = await readInputs(model, args);
    const shapes = { ...shapesOf(args, model.inputs) };
    for (const [name, t] of Object.entries(given)) shapes[name] = [...t.shape];
    // What is given whole is left to the run, which takes a 1 that stands for any size.
    const isWhole = model.inputs.every((p) => given[p.name]);
    const taken = isWhole ? {} : (estimate(model, shapes)?.shapes ?? {});
    const inputs = Object.fromEntries(
      model.inputs
        .filter((p) => p.dtype && (taken[p.name] || given[p.name]))
        .map((p, i) => [p.name, given[p.name] ?? randomTensor(p.dtype!, taken[p.name], i + 1)]),
    );
    const time = async (): Promise<number> => {
      const before = performance.now();
      await model.run(inputs);
      return performance.now() - before;
    };
    const firstMs = await time();
    for (let i = 0; i < 3; i++) await time();
    const times: number[] = [];
    for (let i = 0; i < runs; i++) times.push(await time());
    times.sort((a, b) => a - b);
    const medianMs = times[runs >> 1];
    let steps: StepInfo[] = [];
    if (args.options["profile"]) {
      await model.run(inputs, { profile: true });
      steps = model.explain();
    }
    const result = { device: model.device.name, loadMs, firstMs, medianMs, minMs: times[0], runs, bytes: model.bytes };
    model.dispose();
    if (args.options["json"]) io.stdout.write(`${JSON.stringify({ ...result, steps })}\n`);
    else {
      io.stdout.write(
        `${table([
          ["load", formatMs(loadMs)],
          ["first run", formatMs(firstMs)],
          [
            "median",
            `${formatMs(medianMs)}  (${counted(runs, "run")}, fastest ${formatMs(times[0])}, ${(1000 / medianMs).toFixed(1)} per second)`,
          ],
          ["memory", `${formatBytes(result.bytes)} on ${result.device}`],
        ])}\n`,
      );
      if (steps.length) io.stdout.write(`\n${profileTable(steps)}\n`);
    }
    return 0;
  },
};

function randomTensor(dtype: DType, shape: Shape, seed: number): HostTensor {
  const t = emptyTensor({ dtype, shape });
  let state = seed;
  // Integers stay 0: as indices they are always inside.
  if (dtype[0] === "f" || dtype === "bf16")
    fromF64(
      Float64Array.from({ length: t.data.length }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 4294967296;
      }),
      t,
    );
  return t;
}

/** Multiplications and additions of a product or convolution, from the shapes that the step tells; 0 for other operators. */
function flopOf({ op, inputs, outputs }: StepInfo): number {
  const dims = (type: string): number[] => (/\[(.*)\]/.exec(type)?.[1] ?? "").split(",").map(Number);
  const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
  const [a, b, y] = [inputs[0] ?? "", inputs[1] ?? "", outputs[0] ?? ""].map(dims);
  if (op === "conv") return 2 * size(y) * size(b.slice(1));
  if (op !== "matmul" && op !== "gemm") return 0;
  // Whichever is transposed: [m, k] and [k, n] to [m, n].
  const depth = b.length === 2 ? Math.sqrt((size(a) * size(b)) / size(y)) : a[a.length - 1];
  return 2 * size(y) * depth;
}

function profileTable(steps: readonly StepInfo[]): string {
  const total = steps.reduce((sum, s) => sum + (s.ms ?? 0), 0);
  const rows = [...steps]
    .sort((a, b) => (b.ms ?? 0) - (a.ms ?? 0))
    .slice(0, 40)
    .map((s) => [
      formatMs(s.ms ?? 0),
      `${(((s.ms ?? 0) / total) * 100).toFixed(1)}%`,
      s.kernel,
      s.outputs.join(" "),
      flopOf(s) && s.ms ? `${(flopOf(s) / 1e6 / s.ms).toFixed(1)} GFLOP/s` : "",
      `${(s.bytes / 1e6 / (s.ms || 1)).toFixed(1)} GB/s`,
      s.node.slice(0, 40),
    ]);
  return table([["time", "share", "kernel", "output", "computed", "moved", "node"], ...rows], [0, 1, 4, 5]);
}
