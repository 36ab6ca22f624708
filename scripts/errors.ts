/**
 * `npm run errors` writes docs/errors.md: for each operator and backend the largest error that the property tests' cases
 * show against the float64 references. `FORWARDPASS_RUNS` sets how many cases reach each kernel.
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Backend, Kernel, Step } from "../src/backends/backend.ts";
import { cpu } from "../src/backends/cpu/index.ts";
import { wasmFeatures } from "../src/backends/wasm/features.ts";
import { wasm } from "../src/backends/wasm/index.ts";
import { openWebgpu } from "../src/backends/webgpu/index.ts";
import type { HostTensor } from "../src/tensor/tensor.ts";
import { checkKernel } from "../test/kernel-property.ts";
import { adapterEnvironment } from "./chromium.ts";

interface Largest {
  absolute: number;
  ulp: number;
}

interface Column {
  readonly name: string;
  readonly runs: number;
  readonly open: () => Promise<{ backend: Backend<Step>; kernels: readonly Kernel<Step>[] }>;
}

const cases = Number(process.env["FORWARDPASS_RUNS"] ?? 60);

const onWasm = (relaxedSimd: boolean): Column => ({
  name: relaxedSimd ? "wasm, relaxed SIMD" : "wasm, baseline SIMD",
  runs: cases,
  async open() {
    const backend = wasm({ threads: 1, features: { relaxedSimd } });
    return { backend: backend as Backend<Step>, kernels: await backend.ownKernels() };
  },
});

const columns: Column[] = [
  {
    name: "cpu",
    runs: cases,
    async open() {
      const backend = cpu();
      return { backend: backend as Backend<Step>, kernels: await backend.ownKernels() };
    },
  },
  ...(wasmFeatures().relaxedSimd ? [onWasm(true)] : []),
  onWasm(false),
  {
    name: "webgpu",
    runs: Math.max(1, Math.floor(cases / 10)),
    async open() {
      const backend = await openWebgpu();
      return { backend: backend as Backend<Step>, kernels: await backend.ownKernels() };
    },
  },
];

/** The distance of f32 numbers around v: that of the least normal ones below them. */
const spacing = (v: number): number => 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(v)))) - 23);

function observe(largest: Largest, got: HostTensor, want: HostTensor): void {
  if (want.dtype !== "f32") return;
  for (let i = 0; i < want.data.length; i++) {
    const [g, w] = [got.data[i] as number, want.data[i] as number];
    if (!Number.isFinite(g) || !Number.isFinite(w)) continue;
    const error = Math.abs(g - w);
    largest.absolute = Math.max(largest.absolute, error);
    largest.ulp = Math.max(largest.ulp, error / spacing(w));
  }
}

async function measure({ runs, open }: Column): Promise<Map<string, Largest>> {
  const { backend, kernels } = await open();
  const byOperator = new Map<string, Largest>();
  for (const kernel of kernels) {
    const name = kernel.op.name;
    const largest = byOperator.get(name) ?? { absolute: -1, ulp: -1 };
    byOperator.set(name, largest);
    await checkKernel(backend, kernel, runs, (got, want) => observe(largest, got, want));
  }
  return byOperator;
}

const rounded = (v: number): string => (v === 0 ? "0" : v >= 0.1 && v < 1e4 ? v.toPrecision(2) : v.toExponential(1));
const cell = (l: Largest | undefined): string =>
  !l || l.absolute < 0 ? "" : l.absolute === 0 ? "exact" : `${rounded(l.ulp)} ulp, ${rounded(l.absolute)}`;

function table(results: readonly Map<string, Largest>[]): string {
  const names = [...new Set(results.flatMap((r) => [...r].filter(([, l]) => l.absolute >= 0).map(([name]) => name)))];
  const rows = names.sort().map((name) => `| ${name} | ${results.map((r) => cell(r.get(name))).join(" | ")} |`);
  return `# Errors

Written by \`npm run errors\`. The largest error of f32 results against the float64 references over the generated cases of
the property tests (seed fixed; ${cases} cases for each kernel, ${columns.at(-1)!.runs} on webgpu): in units in the last place of the
result, and absolute. Sums that cancel to nearly nothing have many ulp; their absolute error tells more. Products with
quantised weights count the rounding of activations to 8 bits, where a backend does that. Empty: no kernel of its own; the
operator runs on another backend's or on its reference. On this page: Node ${process.versions.node.split(".")[0]}; webgpu on a
software driver.

| operator | ${columns.map((c) => c.name).join(" | ")} |
|---|${columns.map(() => "---|").join("")}
${rows.join("\n")}
`;
}

async function main(): Promise<void> {
  const env = await adapterEnvironment();
  // The loader of shared libraries reads its path when a process starts.
  if (Object.keys(env).some((name) => process.env[name] !== env[name]) && !process.env["FORWARDPASS_ERRORS_READY"]) {
    const args = [...process.execArgv, ...process.argv.slice(1)];
    const { status } = spawnSync(process.execPath, args, {
      stdio: "inherit",
      env: { ...process.env, ...env, FORWARDPASS_ERRORS_READY: "1" },
    });
    process.exit(status ?? 1);
  }
  const results: Map<string, Largest>[] = [];
  for (const column of columns) {
    console.error(`${column.name} ...`);
    results.push(await measure(column));
  }
  writeFileSync(fileURLToPath(new URL("../docs/errors.md", import.meta.url)), table(results));
  process.exit(0);
}

await main();
