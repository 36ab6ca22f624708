/** What the README shows: its programs compile under strict settings, and the one that needs no files says what it claims. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { root } from "../scripts/bundle.ts";
import { wasm } from "../src/backends/wasm/index.ts";
import { compile, graph, hostTensor, matmul, relu, softmax, tensor } from "../src/index.ts";

const blocks = [...readFileSync(join(root, "README.md"), "utf8").matchAll(/```ts\n([\s\S]*?)```/g)].map(
  ([, code]) => code,
);

/** What a block takes from those before it, or from its reader. */
const context = `
declare global {
  const wavBytes: Uint8Array;
  const load: typeof import("forwardpass").load;
  const lm: Awaited<ReturnType<typeof import("forwardpass/tasks").textGeneration>>;
}
`;

test("every program in TypeScript compiles", () => {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    exports: Record<string, object>;
  };
  const source: Record<string, string> = {
    ".": "src/index.ts",
    "./tasks": "src/tasks/index.ts",
    "./wasm": "src/backends/wasm/index.ts",
  };
  const paths = Object.fromEntries(
    Object.entries(source).map(([entry, file]) => [`forwardpass${entry.slice(1)}`, [join(root, file)]]),
  );
  for (const entry of Object.keys(source)) expect(exports).toHaveProperty([entry]);
  const options: ts.CompilerOptions = {
    ...ts.parseJsonConfigFileContent(
      ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config,
      ts.sys,
      root,
    ).options,
    incremental: false,
    tsBuildInfoFile: undefined,
    noUnusedLocals: false,
    paths,
  };
  const files = new Map(
    [context, ...blocks].map((code, i) => [join(root, `test/readme-${i}.mts`), `${code}\nexport {};\n`]),
  );
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (f) => files.has(f) || fileExists(f);
  host.readFile = (f) => files.get(f) ?? readFile(f);
  host.getSourceFile = (f, ...rest) =>
    files.has(f) ? ts.createSourceFile(f, files.get(f)!, ts.ScriptTarget.ES2022) : getSourceFile(f, ...rest);
  const program = ts.createProgram([...files.keys()], options, host);
  const wrong = [...files.keys()].flatMap((f) => {
    const file = program.getSourceFile(f);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
      (d) => `${file!.text.slice(d.start, d.start! + 60)}: ${ts.flattenDiagnosticMessageText(d.messageText, " ")}`,
    );
  });
  expect(blocks.length).toBeGreaterThan(6);
  expect(wrong).toEqual([]);
});

test("operators, directly", async () => {
  const a = tensor([
    [1, 2],
    [3, 4],
  ]);
  const rows = (await softmax(matmul(a, a), { axis: -1 }).data()) as Float32Array;
  expect(rows[0] + rows[1]).toBeCloseTo(1, 6);
  const w = hostTensor([
    [1, -1],
    [0.5, 2],
  ]);
  using net = await compile(
    graph(({ input, weight }) => ({ y: relu(matmul(input("x", "f32", ["batch", 2]), weight(w))) })),
    { device: wasm({ threads: 2 }) },
  );
  const { y } = await net.run({ x: new Float32Array([1, 2]) });
  expect(y.data).toEqual(new Float32Array([2, 3]));
  expect(blocks.join()).toContain("Float32Array [2, 3]");
});
