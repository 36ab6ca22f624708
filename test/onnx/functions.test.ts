/**
 * Operators that the standard also defines as functions of others: ours equals the function's body, run node by node by
 * this engine, for generated inputs. Where ../shared has the standard's own expanded models, those are the bodies.
 */

import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readModel } from "../../src/formats/onnx/proto.ts";
import { load } from "../../src/index.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { type HostTensor, type HostValue, isHostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { difference } from "../compare.ts";
import { casesRoot, readManifest } from "../conformance/harness.ts";
import { type Case, decodeValue } from "../conformance/run.ts";
import { encodeModel, type FunctionSpec, type NodeSpec } from "./encode.ts";
import { type Body, bodies } from "./functions/bodies.ts";

/** Two ways to the same numbers round differently, and in the narrow dtypes at every node. */
const tolerances: Readonly<Partial<Record<DType, { absolute: number; relative: number }>>> = {
  f64: { absolute: 1e-10, relative: 1e-9 },
  f32: { absolute: 2e-5, relative: 1e-4 },
  f16: { absolute: 1e-2, relative: 2 ** -7 },
  bf16: { absolute: 6e-2, relative: 2 ** -4 },
};
const exact = { absolute: 0, relative: 0 };

function expectEqual(got: Record<string, HostValue>, want: Record<string, HostValue>): void {
  for (const [name, w] of Object.entries(want)) {
    const g = got[name];
    if (isHostTensor(w)) expect(difference(g as HostTensor, w, tolerances[w.dtype] ?? exact), name).toBeUndefined();
    else
      (w ?? []).forEach((e, i) => {
        expectEqual({ [name]: (g as HostTensor[])[i] }, { [name]: e });
      });
  }
}

describe.each(Object.entries(bodies) as [string, Body][])(
  "%s",
  (type, { inputs, outputs, lines, attributes, ...b }) => {
    const call: NodeSpec = { type, inputs, outputs };
    const name = "Body";
    const body: FunctionSpec = {
      name,
      domain: "local",
      inputs,
      outputs,
      attributes: Object.keys(attributes ?? {}),
      nodes: lines.map(parse),
      opsets: { "": b.opset },
    };

    test("equals its body", async () => {
      const arbitrary = fc.record({ given: b.given, set: fc.record(attributes ?? {}) });
      await fc.assert(
        fc.asyncProperty(arbitrary, async ({ given, set }) => {
          const run = async (node: NodeSpec): Promise<Record<string, HostValue>> => {
            const bytes = encodeModel({
              opset: b.opset,
              domains: { local: 1 },
              inputs: given.map((t, i) => ({ name: inputs[i], dtype: t.dtype, shape: [...t.shape] })),
              outputs: outputs.map((name) => ({ name })),
              nodes: [{ ...node, attributes: set }],
              functions: [body],
            });
            using model = await load(bytes, { device: "cpu" });
            return model.run(Object.fromEntries(given.map((t, i) => [inputs[i], t])));
          };
          expectEqual(await run(call), await run({ ...call, type: name, domain: "local" }));
        }),
        { numRuns: 40 },
      );
    });
  },
);

/** `a, b = Type(x, y; axis=0, alpha=@alpha)`: `@` stands for the function's attribute, of type float. */
function parse(line: string): NodeSpec {
  const match = /^(.+?) = (\w+)\(([^;)]*)(?:; (.*))?\)$/.exec(line);
  if (!match) throw new Error(`not a node: ${line}`);
  const [, outputs, type, inputs, attributes] = match;
  const value = (text: string): NonNullable<NodeSpec["attributes"]>[string] => {
    if (text.startsWith("@")) return { reference: text.slice(1), kind: 1 };
    if (text.startsWith("[")) return { ints: JSON.parse(text) as number[] };
    return text.endsWith("f") ? { float: Number(text.slice(0, -1)) } : { int: Number(text) };
  };
  return {
    type,
    inputs: inputs ? inputs.split(", ") : [],
    outputs: outputs.split(", "),
    attributes: Object.fromEntries(
      (attributes?.split(/, (?=\w+=)/) ?? []).map((a) => [a.split("=")[0], value(a.split("=")[1])]),
    ),
  };
}

const all = readManifest() ?? [];
if (!all.length) console.log("expanded functions: skipped, no ../shared/conformance");
const random = /bernoulli/;
const pairs = all
  .filter((c) => c.id.includes("_expanded") && !random.test(c.id))
  .map((expanded) => [expanded.id, expanded, all.find((c) => c.id === expanded.id.split("_expanded")[0])] as const);

describe.skipIf(!pairs.length).each(pairs)("%s", (_, expanded, direct) => {
  test("equals the operator for other inputs", async () => {
    const read = (c: Case, file: string): Promise<Uint8Array> => readFile(new URL(`${c.dir}/${file}`, casesRoot));
    const [one, other] = [await read(direct!, "model.onnx"), await read(expanded, "model.onnx")];
    const ports = readModel(one).graph.inputs;
    const given = await Promise.all(
      ports.map(async (port, i) => decodeValue(await read(direct!, `test_data_set_0/input_${i}.pb`), port)),
    );
    using model = await load(one, { device: "cpu" });
    using body = await load(other, { device: "cpu" });
    for (let seed = 1; seed <= 5; seed++) {
      const inputs = Object.fromEntries(ports.map(({ name }, i) => [name, otherwise(given[i], 100 * seed + i)]));
      // Inputs that the body does not read are inputs of the operator all the same.
      const reads = new Set(body.inputs.map((p) => p.name));
      const of = Object.fromEntries(Object.entries(inputs).filter(([name]) => reads.has(name)));
      expectEqual(await model.run(inputs), await body.run(of));
    }
  });
});

/** Other floats of the same range. Indices, lengths and targets stay: not any number will do. */
function otherwise(value: HostValue, seed: number): HostValue {
  if (Array.isArray(value)) return value.map((v, i) => otherwise(v, seed + 31 * i) as HostTensor);
  if (!value || !isHostTensor(value) || !tolerances[value.dtype] || value.shape.length === 0) return value;
  const other = tensorFrom(seed, value.dtype, value.shape, { min: -1, max: 1 });
  // What is masked stays masked.
  const { data } = value;
  if (data instanceof Float32Array)
    data.forEach((v, i) => {
      if (!Number.isFinite(v)) (other.data as Float32Array)[i] = v;
    });
  return other;
}
