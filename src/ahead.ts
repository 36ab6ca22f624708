/**
 * A model compiled ahead of time: the linked module, its weights, and a small loader without dependencies, for runtimes
 * that take modules only as files of the deployment (isolates at the edge), or should download no engine.
 */
import type { StagePlan } from "./backends/backend.ts";
import type { PlacedValue, ProgramImage } from "./backends/wasm/image.ts";
import { wasm } from "./backends/wasm/index.ts";
import { type AnyStep, isWasmStep } from "./backends/wasm/step.ts";
import type { SourceInput } from "./formats/source.ts";
import type { ValueInfo } from "./graph/ir.ts";
import type { Stage } from "./graph/plan.ts";
import { knownShapes, planInputs, type Shapes } from "./graph/preview.ts";
import type { Session } from "./graph/session.ts";
import { ShapeWalk } from "./graph/shape-walk.ts";
import { type LoadOptions, load } from "./load.ts";
import { loadOptions } from "./load-options.ts";
import { bytesOf, type DType, type OwnBytes, type TypedArray, viewOf } from "./tensor/dtype.ts";
import { InputError, ShapeError, UnsupportedOpError } from "./tensor/errors.ts";
import { checkOptions, type OptionNames } from "./tensor/options.ts";
import { sizeOf } from "./tensor/shape.ts";
import { emptyTensor, type HostTensor, type TensorType } from "./tensor/tensor.ts";

export interface AheadOptions extends Omit<LoadOptions, "device" | "threads" | "fallback" | "verify"> {
  /**
   * Shapes of inputs with free dimensions, by name. A named dimension has one size in all inputs: those whose names have all
   * got one may be left out.
   */
  shapes?: Readonly<Record<string, readonly number[]>>;
  /** Use relaxed SIMD instructions, which not every engine has. Default false: baseline SIMD runs everywhere. */
  relaxedSimd?: boolean;
}

/** Files by their name. `model.mjs` is an ES module that expects the other two beside it, or is given them. */
export interface AheadFiles {
  readonly "model.wasm": OwnBytes;
  readonly "model.weights": OwnBytes;
  readonly "model.mjs": string;
  readonly "model.d.mts": string;
}

const { device: _, threads: __, fallback: ___, verify: ____, ...ofLoading } = loadOptions;
const known: OptionNames<AheadOptions> = { ...ofLoading, shapes: true, relaxedSimd: true };

interface Port extends PlacedValue {
  readonly name: string;
  /** Of an output that is an input: which one. */
  readonly input?: string;
}

/**
 * Compiles a model for fixed shapes and one thread. Results equal those of the wasm device on one thread with the same
 * instructions, bit for bit.
 * @throws InputError for an option of another name or type; ShapeError for an input whose shape is open; UnsupportedOpError naming every node that has no wasm kernel, whose
 * shape depends on data, or whose plan depends on an input's values; else as `load`
 */
export async function compileAhead(input: SourceInput, options: AheadOptions = {}): Promise<AheadFiles> {
  checkOptions("compile", options, known);
  const { shapes: given = {}, relaxedSimd = false, ...rest } = options;
  if (typeof relaxedSimd !== "boolean")
    throw new InputError(`compile: relaxedSimd takes true or false, got ${JSON.stringify(relaxedSimd)}`);
  const device = wasm({ threads: 1, features: { relaxedSimd, dotAdd: undefined } });
  if (typeof given !== "object" || given === null)
    throw new ShapeError("compile: shapes are an object, as { shapes: { x: [1, 3] } }");
  using session = await load(input, { ...rest, device });
  for (const name of Object.keys(given))
    if (!session.inputs.some((p) => p.name === name))
      throw new ShapeError(
        `compile: there is no input "${name}"; there are: ${session.inputs.map((p) => p.name).join(", ")}`,
      );
  const shapes = wholeShapes(session, given);
  const stage = planned(session, shapes);
  const { graph } = session;
  const stopsAt = graph.nodes[stage.end];
  if (stopsAt)
    throw new UnsupportedOpError(`compile: what ${stopsAt.op.name} gives depends on data (node "${stopsAt.name}")`, {
      op: stopsAt.op.name,
      node: stopsAt.name,
    });
  const plan = stage.plan as StagePlan<AnyStep>;
  const missing = plan.steps.flatMap((s) => (isWasmStep(s.step) ? [] : [`${s.op.name} (node "${s.node}")`]));
  if (missing.length)
    throw new UnsupportedOpError(`compile: there is no wasm kernel for ${missing.join("; ")}`, { missing });
  const image = await device.image(plan);
  const room = new Room(image);
  const inputs = stage.inputs.map((id, i): Port => ({ ...image.inputs[i], name: nameOf(session, id)! }));
  const outputs = graph.outputs.map(({ id, name }): Port => {
    const i = stage.outputs.indexOf(id);
    if (i >= 0) return { ...image.outputs[i], name };
    const constant = stage.folded.find(([value]) => value === id)?.[1] ?? graph.constants.get(id);
    if (constant && constant.dtype !== "string") return { ...room.hold(constant), name };
    const own = nameOf(session, id);
    const type = session.inputs.find((p) => p.name === own);
    if (own === undefined || !type?.dtype || type.dtype === "string")
      throw new UnsupportedOpError(`compile: the output "${name}" is no tensor of numbers`);
    const place = room.reserve({ dtype: type.dtype, shape: shapes[own] });
    if (!inputs.some((p) => p.name === own)) inputs.push({ ...place, name: own });
    return { ...place, name, input: own };
  });
  const whole = room.image();
  return {
    "model.wasm": whole.module,
    "model.weights": whole.data,
    "model.mjs": loaderText(whole, inputs, outputs),
    "model.d.mts": typesText(inputs, outputs),
  };
}

const nameOf = ({ graph }: Session, id: number): string | undefined => graph.inputs.find((p) => p.id === id)?.name;

/** @throws ShapeError for what is still open */
function wholeShapes(session: Session, given: Shapes): Shapes {
  const known = knownShapes(session, given);
  const open = session.inputs.filter((p) => !known[p.name]?.every((d) => typeof d === "number"));
  if (open.length === 0) return known as Shapes;
  const told = open.map(({ name, shape }) => `"${name}" is [${shape ?? "?"}]`).join(", ");
  const example = ({ name }: ValueInfo): string =>
    `--shape ${name}=${(known[name] ?? [1]).map((d) => (typeof d === "number" ? d : 1))}`;
  throw new ShapeError(
    `compile: shapes are open: ${told}; give them, as ${open.map(example).join(" ")} (in code: the option "shapes")`,
  );
}

/** @throws UnsupportedOpError where shapes depend on the values of inputs */
function planned(session: Session, shapes: Shapes): Stage {
  const refuse = (values: Iterable<number>): void => {
    const names = [...values].map((id) => nameOf(session, id));
    if (names.length) throw new UnsupportedOpError(`compile: shapes depend on the values of ${names.join(", ")}`);
  };
  let stage: Stage;
  try {
    stage = planInputs(session, shapes);
  } catch (e) {
    // Planned with zeros for all inputs: a shape that comes from these may be none.
    if (e instanceof ShapeError) refuse(valuesRead(session, shapes));
    throw e;
  }
  refuse(stage.values.map(([id]) => id));
  return stage;
}

/** The inputs whose values shapes come from. */
function valuesRead({ graph }: Session, shapes: Shapes): Iterable<number> {
  try {
    const types = graph.inputs.map((p) => ({ ...p, shape: shapes[p.name] }) as TensorType & { id: number });
    const walk = new ShapeWalk(graph, 0, new Map(types.map((t) => [t.id, emptyTensor(t)])), Number.POSITIVE_INFINITY);
    try {
      walk.walk();
    } catch {}
    return walk.readValues.keys();
  } catch {
    // Shapes that are none.
    return [];
  }
}

/** Memory behind that of a program, for outputs that no step writes. */
class Room {
  private end: number;
  /** Where what the file holds ends. */
  private dataEnd: number;
  private readonly held: [at: number, data: TypedArray][] = [];

  constructor(private readonly program: ProgramImage) {
    this.end = this.dataEnd = program.dataAt + program.data.length;
  }

  /** For what each run writes. */
  reserve({ dtype, shape }: TensorType): PlacedValue {
    const at = Math.ceil(this.end / 16) * 16;
    this.end = at + sizeOf(shape) * bytesOf(dtype);
    return { dtype, shape, at };
  }

  /** For what never changes. */
  hold(t: HostTensor): PlacedValue {
    const place = this.reserve(t);
    this.held.push([place.at, t.data as TypedArray]);
    this.dataEnd = this.end;
    return place;
  }

  image(): ProgramImage {
    const { program } = this;
    const data = new Uint8Array(this.dataEnd - program.dataAt);
    data.set(program.data);
    for (const [at, { buffer, byteOffset, byteLength }] of this.held)
      data.set(new Uint8Array(buffer, byteOffset, byteLength), at - program.dataAt);
    return { ...program, data, pages: Math.max(program.pages, Math.ceil(this.end / 65536)) };
  }
}

const arrayNameOf = (dtype: DType): string => viewOf(dtype, new ArrayBuffer(0), 0, 0).constructor.name;

/** Where a value is in memory, as the loader makes a view of it. */
const placed = ({ dtype, shape, at }: PlacedValue) => ({ at, size: sizeOf(shape), array: arrayNameOf(dtype) });

const described = (ports: readonly Port[]): string =>
  JSON.stringify(ports.map((p) => ({ name: p.name, dtype: p.dtype, shape: p.shape, ...placed(p), input: p.input })));

/** Steps that may refuse an index, by number: what an error tells of them. */
const indexedSteps = ({ indexed }: ProgramImage): string =>
  JSON.stringify(Object.fromEntries([...indexed].map(([i, step]) => [i, { ...step, whole: step.whole.map(placed) }])));

const loaderText = (image: ProgramImage, inputs: readonly Port[], outputs: readonly Port[]): string => {
  const { pages, data, dataAt, steps, currentAt } = image;
  return `// Written by \`forwardpass compile\`.
export const inputs = ${described(inputs)};
export const outputs = ${described(outputs)};
const indexed = ${indexedSteps(image)};

/** From a compiled module and the bytes of model.weights. Compiles nothing, unless the module is bytes too. */
export async function instantiate(module, weights) {
  const memory = new WebAssembly.Memory({ initial: ${pages} });
  const bytes = ArrayBuffer.isView(weights)
    ? new Uint8Array(weights.buffer, weights.byteOffset, weights.byteLength)
    : new Uint8Array(Object(weights) === weights ? weights : 0);
  if (bytes.length !== ${data.length})
    throw new TypeError(\`instantiate takes the ${data.length} bytes of model.weights, as a Uint8Array or ArrayBuffer; got \${bytes.length}\`);
  new Uint8Array(memory.buffer).set(bytes, ${dataAt});
  const made = await WebAssembly.instantiate(module, { env: { memory, host() {} } });
  const { exports } = made.instance ?? made;
  const view = ({ array, at, size }) => new globalThis[array](memory.buffer, at, size);
  const from = inputs.map((p) => [p, ...outputs.filter((o) => o.input === p.name)].map(view));
  const to = outputs.map(view);
  return {
    inputs,
    outputs,
    run(given) {
      inputs.forEach(({ name, array, size }, i) => {
        const data = given?.[name];
        if (Object.prototype.toString.call(data) !== \`[object \${array}]\` || data.length !== size)
          throw new TypeError(\`input "\${name}" takes a \${array} of \${size} elements\`);
        for (const v of from[i]) v.set(data);
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

const read = async (url) => {
  // Of the process: bundlers for the edge and for browsers would insist on finding what is imported.
  const fs = url.protocol === "file:" && globalThis.process?.getBuiltinModule?.("node:fs");
  if (fs) return fs.promises.readFile(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(\`\${url}: \${response.status}\`);
  return new Uint8Array(await response.arrayBuffer());
};

/** From the files beside this one, where compiling is allowed. */
export async function load() {
  // Spelled out: bundlers take these files along.
  const files = [new URL("./model.wasm", import.meta.url), new URL("./model.weights", import.meta.url)];
  return instantiate(...(await Promise.all(files.map(read))));
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
  /** Of an output that is an input: which one. */
  readonly input?: string;
}
export interface Model {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Runs at once. Results are copies. Throws TypeError for an array of another kind or length, RangeError for an index that is outside of its tensor. */
  run(inputs: ${record(inputs)}): ${record(outputs)};
}
export const inputs: readonly Port[];
export const outputs: readonly Port[];
/** From a compiled module and the bytes of model.weights. Compiles nothing, unless the module is bytes too. */
export function instantiate(module: WebAssembly.Module | ArrayBuffer | Uint8Array, weights: ArrayBuffer | Uint8Array): Promise<Model>;
/** From the files beside this one, where compiling is allowed. In Node from 20.16 on. */
export function load(): Promise<Model>;
`;
}
