/**
 * A model compiled ahead of time: the linked module, its weights, and a small loader without dependencies, for runtimes
 * that forbid compiling at run time (isolates at the edge, strict content-security policies) or should download no engine.
 */
import type { StagePlan } from "./backends/backend.ts";
import type { PlacedValue, ProgramImage } from "./backends/wasm/image.ts";
import { wasm } from "./backends/wasm/index.ts";
import { type AnyStep, isWasmStep } from "./backends/wasm/step.ts";
import type { SourceInput } from "./formats/source.ts";
import { planInputs } from "./graph/preview.ts";
import { type LoadOptions, load } from "./load.ts";
import { type DType, viewOf } from "./tensor/dtype.ts";
import { InputError, ShapeError, UnsupportedOpError } from "./tensor/errors.ts";
import { sizeOf } from "./tensor/shape.ts";

export interface AheadOptions extends Omit<LoadOptions, "device" | "threads" | "verify"> {
  /** Shapes of inputs with free dimensions, by name. */
  shapes?: Readonly<Record<string, readonly number[]>>;
  /** Use relaxed SIMD instructions, which not every engine has. Default false: baseline SIMD runs everywhere. */
  relaxedSimd?: boolean;
}

/** Files by their name. `model.mjs` is an ES module that expects the other two beside it, or is given them. */
export interface AheadFiles {
  readonly "model.wasm": Uint8Array<ArrayBuffer>;
  readonly "model.weights": Uint8Array<ArrayBuffer>;
  readonly "model.mjs": string;
  readonly "model.d.mts": string;
}

interface Port extends PlacedValue {
  readonly name: string;
}

/**
 * Compiles a model for fixed shapes and one thread. Results equal those of the wasm device on one thread with the same
 * instructions, bit for bit.
 * @throws ShapeError for an input whose shape is open; UnsupportedOpError naming every node that has no wasm kernel, whose
 * shape depends on data, or whose plan depends on an input's values; else as `load`
 */
export async function compileAhead(input: SourceInput, options: AheadOptions = {}): Promise<AheadFiles> {
  if (typeof options !== "object" || options === null)
    throw new InputError("compile: options are an object, as { shapes: { x: [1, 3] } }");
  const { shapes = {}, relaxedSimd = false, ...rest } = options;
  const device = wasm({ threads: 1, features: { relaxedSimd } });
  using session = await load(input, { ...rest, device });
  if (typeof shapes !== "object" || shapes === null)
    throw new ShapeError("compile: shapes are an object, as { shapes: { x: [1, 3] } }");
  for (const name of Object.keys(shapes))
    if (!session.inputs.some((p) => p.name === name))
      throw new ShapeError(
        `compile: there is no input "${name}"; there are: ${session.inputs.map((p) => p.name).join(", ")}`,
      );
  const open = session.inputs.filter((p) => !shapes[p.name] && !p.shape?.every((d) => typeof d === "number"));
  if (open.length) {
    const told = open.map(({ name, shape }) => `"${name}" is [${shape ?? "?"}]`).join(", ");
    const example = ({ name, shape = [1] }: (typeof open)[number]): string =>
      `--shape ${name}=${shape.map((d) => (typeof d === "number" ? d : 1))}`;
    throw new ShapeError(
      `compile: shapes are open: ${told}; give them, as ${open.map(example).join(" ")} (in code: the option "shapes")`,
    );
  }
  const stage = planInputs(session, shapes);
  const { graph } = session;
  const stopsAt = graph.nodes[stage.end];
  if (stopsAt)
    throw new UnsupportedOpError(`compile: what ${stopsAt.op.name} gives depends on data (node "${stopsAt.name}")`, {
      op: stopsAt.op.name,
      node: stopsAt.name,
    });
  if (stage.values.length) {
    const names = stage.values.map(([id]) => graph.inputs.find((p) => p.id === id)?.name);
    throw new UnsupportedOpError(`compile: shapes depend on the values of ${names.join(", ")}`);
  }
  const plan = stage.plan as StagePlan<AnyStep>;
  const missing = plan.steps.flatMap((s) => (isWasmStep(s.step) ? [] : [`${s.op.name} (node "${s.node}")`]));
  if (missing.length)
    throw new UnsupportedOpError(`compile: there is no wasm kernel for ${missing.join("; ")}`, { missing });
  const image = await device.image(plan);
  const nameOf = (ports: typeof graph.inputs, id: number): string => ports.find((p) => p.id === id)!.name;
  const inputs = stage.inputs.map((id, i): Port => ({ ...image.inputs[i], name: nameOf(graph.inputs, id) }));
  const outputs = graph.outputs.map(({ id, name }): Port => {
    const i = stage.outputs.indexOf(id);
    if (i < 0) throw new UnsupportedOpError(`compile: the output "${name}" is no result of a kernel`);
    return { ...image.outputs[i], name };
  });
  return {
    "model.wasm": image.module,
    "model.weights": image.data,
    "model.mjs": loaderText(image, inputs, outputs),
    "model.d.mts": typesText(inputs, outputs),
  };
}

const arrayNameOf = (dtype: DType): string => viewOf(dtype, new ArrayBuffer(0), 0, 0).constructor.name;

/** Where a value is in memory, as the loader makes a view of it. */
const placed = ({ dtype, shape, at }: PlacedValue) => ({ at, size: sizeOf(shape), array: arrayNameOf(dtype) });

const described = (ports: readonly Port[]): string =>
  JSON.stringify(ports.map((p) => ({ name: p.name, dtype: p.dtype, shape: p.shape, ...placed(p) })));

/** Steps that may refuse an index, by number: what an error tells of them. */
const indexedSteps = ({ indexed }: ProgramImage): string =>
  JSON.stringify(Object.fromEntries([...indexed].map(([i, step]) => [i, { ...step, whole: step.whole.map(placed) }])));

const loaderText = (image: ProgramImage, inputs: readonly Port[], outputs: readonly Port[]): string => {
  const { pages, data, dataAt, steps, currentAt } = image;
  return `// Written by \`forwardpass compile\`.
export const inputs = ${described(inputs)};
export const outputs = ${described(outputs)};
const indexed = ${indexedSteps(image)};

/** From a compiled module and the bytes of model.weights. Compiles nothing. */
export async function instantiate(module, weights) {
  const memory = new WebAssembly.Memory({ initial: ${pages} });
  const bytes = weights instanceof ArrayBuffer ? new Uint8Array(weights) : weights;
  if (bytes.length !== ${data.length}) throw new TypeError(\`model.weights has \${bytes.length} bytes instead of ${data.length}\`);
  new Uint8Array(memory.buffer).set(bytes, ${dataAt});
  const { exports } = await WebAssembly.instantiate(module, { env: { memory, host() {} } });
  const view = ({ array, at, size }) => new globalThis[array](memory.buffer, at, size);
  const from = inputs.map(view);
  const to = outputs.map(view);
  return {
    inputs,
    outputs,
    run(given) {
      inputs.forEach(({ name, array, size }, i) => {
        const data = given[name];
        if (data?.constructor?.name !== array || data.length !== size)
          throw new TypeError(\`input "\${name}" takes a \${array} of \${size} elements\`);
        from[i].set(data);
      });
      try {
        exports.run(0, 0, ${steps});
      } catch (cause) {
        const step = indexed[new Int32Array(memory.buffer, ${currentAt}, 1)[0]];
        if (!step || !/unreachable/i.test(cause.message)) throw cause;
        const { op, node, axis } = step;
        const spans = step.whole.map(view).map((v) => v.reduce(([a, b], n) => [n < a ? n : a, n > b ? n : b], [v[0], v[0]]));
        const told = spans.map(([a, b]) => \`from \${a} to \${b}\`).join(", ") + (axis === undefined ? "" : \`, axis \${axis}\`);
        throw new RangeError(\`\${op}: an index is outside of its tensor: \${step.inputs.join(", ")}, indices \${told} (node "\${node}")\`, { cause });
      }
      return Object.fromEntries(outputs.map(({ name }, i) => [name, to[i].slice()]));
    },
  };
}

// By a variable name: bundlers for the edge and for browsers would insist on finding it.
const fs = "node:fs/promises";
const beside = async (name) => {
  const url = new URL(name, import.meta.url);
  if (url.protocol === "file:") return (await import(/* webpackIgnore: true */ /* @vite-ignore */ fs)).readFile(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(\`\${url}: \${response.status}\`);
  return new Uint8Array(await response.arrayBuffer());
};

/** From the files beside this one, where compiling is allowed. */
export async function load() {
  const [code, weights] = await Promise.all([beside("model.wasm"), beside("model.weights")]);
  return instantiate(await WebAssembly.compile(code), weights);
}
`;
};

function typesText(inputs: readonly Port[], outputs: readonly Port[]): string {
  const record = (ports: readonly Port[]): string =>
    `{ ${ports.map((p) => `readonly ${JSON.stringify(p.name)}: ${arrayNameOf(p.dtype)}`).join("; ")} }`;
  return `export interface Port {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Elements. */
  readonly size: number;
  /** The typed array it takes. */
  readonly array: string;
}
export interface Model {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Runs at once. Results are copies. Throws TypeError for an array of another kind or length, RangeError for an index that is outside of its tensor. */
  run(inputs: ${record(inputs)}): ${record(outputs)};
}
export const inputs: readonly Port[];
export const outputs: readonly Port[];
/** From a compiled module and the bytes of model.weights. Compiles nothing. */
export function instantiate(module: WebAssembly.Module, weights: ArrayBuffer | Uint8Array): Promise<Model>;
/** From the files beside this one, where compiling is allowed. */
export function load(): Promise<Model>;
`;
}
