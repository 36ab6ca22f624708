/** Runs a case in the layout of the ONNX backend tests through the public API, on any host, and compares the results. */
import { readModel, type ValueInfoProto } from "../../src/formats/onnx/proto.ts";
import { decodeOptionalProto, decodeSequenceProto, decodeTensorProto } from "../../src/formats/onnx/tensor-proto.ts";
import { type DeviceChoice, load } from "../../src/index.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import { isBig } from "../../src/tensor/dtype.ts";
import { formatType, sameShape } from "../../src/tensor/shape.ts";
import { type HostTensor, type HostValue, isHostTensor } from "../../src/tensor/tensor.ts";

export interface Case {
  id: string;
  suite: string;
  dir: string;
  ops: string[];
  /** As NumPy names them. */
  dtypes: string[];
  tier: "core" | "less" | "exotic";
  coreF32: boolean;
  sets: number;
}

/** Reads a file of the cases, by its path from their folder. */
export type ReadCaseFile = (path: string) => Promise<Uint8Array>;

/** Runs every data set of a case. Returns what is wrong, or undefined. */
export async function runCaseFrom(readFile: ReadCaseFile, c: Case, device: DeviceChoice): Promise<string | undefined> {
  try {
    const bytes = await readFile(`${c.dir}/model.onnx`);
    const { graph } = readModel(bytes);
    const weights = new Set(graph.initializers.map((t) => t.name));
    const inputs = graph.inputs.filter((p) => !weights.has(p.name));
    using session = await load(bytes, { device });
    for (let set = 0; set < c.sets; set++) {
      const read = (kind: string, port: ValueInfoProto, i: number): Promise<HostValue> =>
        readFile(`${c.dir}/test_data_set_${set}/${kind}_${i}.pb`).then((file) => decodeValue(file, port));
      const given = await Promise.all(
        inputs.map(async (port, i) => [port.name, await read("input", port, i)] as const),
      );
      const results = await session.run(Object.fromEntries(given));
      for (const [i, port] of graph.outputs.entries()) {
        const wrong = compare(results[port.name], await read("output", port, i));
        if (wrong) return `output "${port.name}": ${wrong}`;
      }
    }
    return undefined;
  } catch (e) {
    return e instanceof Error ? `${e.name}: ${e.message}` : String(e);
  }
}

/** An input or output file, by the type of its port. */
export function decodeValue(bytes: Uint8Array, port: ValueInfoProto): HostValue {
  if (port.type?.kind === "sequence") return decodeSequenceProto(bytes);
  return port.type?.kind === "optional" ? decodeOptionalProto(bytes) : decodeTensorProto(bytes);
}

/** |a - b| <= absolute + relative |b| by dtype of the expected tensor. */
const tolerances: Readonly<Record<string, readonly [number, number]>> = {
  f16: [1e-3, 2 ** -9],
  bf16: [1e-2, 2 ** -6],
};
const tolerance = [1e-5, 1e-3] as const;

function compare(actual: HostValue | undefined, expected: HostValue): string | undefined {
  if (actual === undefined) return "missing";
  if (isHostTensor(expected)) return isHostTensor(actual) ? compareTensors(actual, expected) : "not a tensor";
  if (expected === null || actual === null) return actual === expected ? undefined : "one of the optionals is empty";
  if (isHostTensor(actual)) return "a tensor, not a sequence";
  if (actual.length !== expected.length) return `${actual.length} elements, not ${expected.length}`;
  for (const [i, e] of expected.entries()) {
    const wrong = compare(actual[i], e);
    if (wrong) return `element ${i}: ${wrong}`;
  }
  return undefined;
}

function compareTensors(actual: HostTensor, expected: HostTensor): string | undefined {
  if (actual.dtype !== expected.dtype || !sameShape(actual.shape, expected.shape))
    return `${formatType(actual)}, not ${formatType(expected)}`;
  const exact = expected.dtype === "string" || isBig(expected.dtype);
  const a = exact ? actual.data : toF64(actual);
  const b = exact ? expected.data : toF64(expected);
  if (a.length !== b.length) return `${a.length} elements in the data, not ${b.length}`;
  const [absolute, relative] = tolerances[expected.dtype] ?? tolerance;
  const close = (x: number, y: number): boolean =>
    Object.is(x, y) || x === y || Math.abs(x - y) <= absolute + relative * Math.abs(y);
  const bad: number[] = [];
  for (let i = 0; i < b.length; i++) if (exact ? a[i] !== b[i] : !close(a[i] as number, b[i] as number)) bad.push(i);
  if (bad.length === 0) return undefined;
  const [i] = bad;
  return `${bad.length} of ${b.length} elements differ, at ${i}: ${a[i]}, not ${b[i]}`;
}
