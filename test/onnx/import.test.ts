/** What the importer makes of models: names, order, functions, errors. */
import { describe, expect, test } from "vitest";
import { importOnnx } from "../../src/formats/onnx/index.ts";
import { FormatError, type HostTensor, hostTensor, load, UnsupportedOpError } from "../../src/index.ts";
import { encodeModel, type ModelSpec, type NodeSpec, type PortSpec } from "./encode.ts";

const f32 = (...values: number[]): HostTensor => hostTensor(values);
const x: PortSpec = { name: "x", dtype: "f32", shape: ["n"] };
const y: PortSpec = { name: "y", dtype: "f32" };
const node = (type: string, inputs: string[], outputs: string[], more: Partial<NodeSpec> = {}): NodeSpec => ({
  type,
  inputs,
  outputs,
  ...more,
});

async function run(m: ModelSpec, inputs: Record<string, HostTensor> = { x: f32(1, -2) }): Promise<number[]> {
  using session = await load(encodeModel(m), { device: "cpu" });
  return Array.from((await session.run(inputs)).y.data as Float32Array);
}

const fails = (m: ModelSpec): Promise<unknown> => importOnnx(encodeModel(m)).catch((e) => e);

describe("a model", () => {
  test("says what it is and what it takes", async () => {
    const m = await importOnnx(
      encodeModel({
        nodes: [node("Relu", ["x"], ["y"])],
        inputs: [{ name: "x", dtype: "f16", shape: ["batch", 3, -1] }],
        outputs: [y],
        metadata: { author: "me" },
        domains: { "com.example": 2 },
        opset: 18,
        irVersion: 8,
      }),
      { name: "net" },
    );
    expect(m.graph.name).toBe("net");
    expect(m.graph.inputs).toMatchObject([{ name: "x", dtype: "f16", shape: ["batch", 3, "?"] }]);
    expect(m.metadata).toEqual({ author: "me" });
    expect(m.opset).toEqual({ "ai.onnx": 18, "com.example": 2 });
    expect([m.irVersion, m.producer]).toEqual([8, "tests"]);
  });

  test("may have its nodes in any order, and nodes that nobody needs", async () => {
    const nodes = [
      node("Add", ["a", "b"], ["y"]),
      node("Neg", ["a"], ["b"]),
      node("NoSuchOperator", ["x"], ["unused"]),
      node("Abs", ["x"], ["a"]),
    ];
    expect(await run({ nodes, inputs: [x], outputs: [y] })).toEqual([0, 0]);
    const { graph } = await importOnnx(encodeModel({ nodes, inputs: [x], outputs: [y] }));
    expect(graph.nodes.map((n) => n.op.name)).toEqual(["abs", "neg", "add"]);
  });

  test("may give an input a default, which is a constant before IR version 4", async () => {
    const m: ModelSpec = {
      nodes: [node("Add", ["x", "w"], ["y"])],
      inputs: [x, { name: "w", dtype: "f32", shape: [2] }],
      outputs: [y],
      initializers: { w: f32(10, 20) },
    };
    expect(await run(m)).toEqual([11, 18]);
    expect(await run(m, { x: f32(1, -2), w: f32(0, 1) })).toEqual([1, -1]);
    const old = await importOnnx(encodeModel({ ...m, irVersion: 3 }));
    expect(old.graph.inputs.map((p) => p.name)).toEqual(["x"]);
  });

  test("gives results that share memory with nothing", async () => {
    using session = await load(
      encodeModel({
        nodes: [node("Identity", ["x"], ["y"]), node("Identity", ["w"], ["z"]), node("Identity", ["w"], ["z2"])],
        inputs: [x],
        outputs: [y, { name: "z" }, { name: "z2" }],
        initializers: { w: f32(1, 2) },
      }),
      { device: "cpu" },
    );
    const given = f32(5, 6);
    const first = await session.run({ x: given });
    for (const t of Object.values(first)) (t.data as Float32Array).fill(99, 0, 1);
    expect(given.data).toEqual(Float32Array.of(5, 6));
    const second = await session.run({ x: given });
    expect([second.y, second.z, second.z2].map((t) => Array.from(t.data as Float32Array))).toEqual([
      [5, 6],
      [1, 2],
      [1, 2],
    ]);
  });

  test("may be of an opset to come: operators are as they were last", async () => {
    const softmax = (opset: number): ModelSpec => ({
      opset,
      nodes: [node("Softmax", ["x"], ["y"])],
      inputs: [x],
      outputs: [y],
    });
    const [known, later] = [await run(softmax(28), { x: f32(1, 2, 3) }), await run(softmax(99), { x: f32(1, 2, 3) })];
    expect(later).toEqual(known);
    const e = await fails({ ...softmax(99), nodes: [node("Later", ["x"], ["y"])] });
    expect((e as UnsupportedOpError).missing).toEqual(["Later (opset 99)"]);
  });

  test("may be of opset 6, where operands are aligned by an attribute and slopes belong to channels", async () => {
    const inputs = [
      { name: "x", dtype: "f32" as const, shape: ["n", 2, 3] },
      { name: "b", dtype: "f32" as const, shape: [2] },
    ];
    const given = {
      x: hostTensor([
        [
          [-1, 2, 3],
          [4, -5, 6],
        ],
      ]),
      b: hostTensor([10, 20]),
    };
    const axis = { attributes: { axis: { int: 1 }, broadcast: { int: 1 } } };
    const of = (n: NodeSpec): ModelSpec => ({ opset: 6, nodes: [n], inputs, outputs: [y] });
    expect(await run(of(node("Add", ["x", "b"], ["y"], axis)), given)).toEqual([9, 12, 13, 24, 15, 26]);
    expect(await run(of(node("PRelu", ["x", "b"], ["y"])), given)).toEqual([-10, 2, 3, 4, -100, 6]);
  });

  test("keeps node names in errors", async () => {
    const nodes = [node("Add", ["a", "b"], ["y"], { name: "/layer/add" })];
    const e = await fails({ nodes, outputs: [y], initializers: { a: f32(1, 2), b: f32(1, 2, 3) } });
    expect(String(e)).toMatch(/ShapeError: add: .*\[2\].*\[3\].*\(node "\/layer\/add"\)/);
  });
});

test("an input that is left out may be one that there is not", async () => {
  expect(await run({ nodes: [node("Relu", ["x", ""], ["y"])], inputs: [x], outputs: [y] })).toEqual([1, 0]);
});

test.each([true, false])("gives what it declares, or a DTypeError; optimize %s", async (optimize) => {
  const refusal = async (m: ModelSpec, inputs: Record<string, HostTensor> = { x: f32(1, -2) }): Promise<unknown> => {
    using session = await load(encodeModel(m), { device: "cpu", optimize });
    const run = () => session.run(inputs).catch((e) => e);
    // A plan that was refused is not kept.
    expect(String(await run())).toBe(String(await run()));
    return run();
  };
  const i64 = [{ name: "y", dtype: "i64" as const }];
  const found = { name: "DTypeError", message: 'output "y" is f32 and declared i64: cast it' };
  for (const nodes of [
    [node("Relu", ["x"], ["y"])],
    [node("NonZero", ["x"], ["n"]), node("Relu", ["x"], ["y"])],
    [node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "zero"], ["y"])],
  ])
    expect(await refusal({ nodes, inputs: [x], outputs: i64, initializers: { zero: hostTensor(0n) } })).toMatchObject(
      found,
    );
  expect(await refusal({ inputs: [{ ...x, name: "y" }], outputs: i64 }, { y: f32(1) })).toMatchObject(found);
  expect(await refusal({ outputs: i64, initializers: { y: f32(1) } }, {})).toMatchObject(found);
});

describe("functions", () => {
  const scale = {
    name: "Scale",
    domain: "local",
    inputs: ["v", "bias"],
    outputs: ["r"],
    attributes: ["factor"],
    nodes: [
      node("Constant", [], ["k"], { attributes: { value_float: { reference: "factor", kind: 1 } } }),
      node("Mul", ["v", "k"], ["r"]),
    ],
  };

  test("are written in place of their calls, with the caller's attributes", async () => {
    const twice = {
      name: "Twice",
      domain: "local",
      inputs: ["v"],
      outputs: ["r"],
      nodes: [
        node("Scale", ["v"], ["t"], { domain: "local", attributes: { factor: { float: 3 } } }),
        node("Scale", ["t"], ["r"], { domain: "local", attributes: { factor: { float: 5 } } }),
      ],
    };
    const nodes = [node("Twice", ["x"], ["y"], { domain: "local" })];
    expect(await run({ nodes, inputs: [x], outputs: [y], functions: [scale, twice] })).toEqual([15, -30]);
  });

  test("have default attributes", async () => {
    const functions = [{ ...scale, defaults: { factor: { float: 4 } } }];
    const nodes = [node("Scale", ["x"], ["y"], { domain: "local" })];
    expect(await run({ nodes, inputs: [x], outputs: [y], functions })).toEqual([4, -8]);
  });

  test("win over an operator of the same name", async () => {
    const functions = [{ ...scale, name: "Neg", domain: "", defaults: { factor: { float: 7 } } }];
    expect(await run({ nodes: [node("Neg", ["x"], ["y"])], inputs: [x], outputs: [y], functions })).toEqual([7, -14]);
  });

  test("have opsets of their own", async () => {
    // ReduceSum takes its axes as an attribute before opset 13.
    const functions = [
      {
        name: "Total",
        domain: "local",
        inputs: ["v"],
        outputs: ["r"],
        nodes: [node("Squeeze", ["v"], ["r"], { attributes: { axes: { ints: [0] } } })],
        opsets: { "": 11 },
      },
    ];
    const nodes = [node("Total", ["x"], ["y"], { domain: "local" })];
    expect(await run({ nodes, inputs: [x], outputs: [y], functions }, { x: f32(3) })).toEqual([3]);
  });

  test("may not call themselves, nor unfold without end", async () => {
    const loop = { ...scale, nodes: [node("Scale", ["v"], ["r"], { domain: "local" })] };
    const nodes = [node("Scale", ["x"], ["y"], { domain: "local" })];
    expect(String(await fails({ nodes, inputs: [x], outputs: [y], functions: [loop] }))).toMatch("calls itself");
    const doubling = Array.from({ length: 40 }, (_, i) => ({
      name: `F${i}`,
      domain: "local",
      inputs: ["v"],
      outputs: ["r"],
      nodes:
        i === 0
          ? [node("Neg", ["v"], ["r"])]
          : [
              node(`F${i - 1}`, ["v"], ["t"], { domain: "local" }),
              node(`F${i - 1}`, ["t"], ["r"], { domain: "local" }),
            ],
    }));
    const top = [node("F39", ["x"], ["y"], { domain: "local" })];
    expect(String(await fails({ nodes: top, inputs: [x], outputs: [y], functions: doubling }))).toMatch("unfold");
  });
});

describe("a model that is wrong", () => {
  const cases: [string, ModelSpec, RegExp][] = [
    [
      "a cycle",
      { nodes: [node("Neg", ["a"], ["b"], { name: "p" }), node("Neg", ["b"], ["a"], { name: "q" })], outputs: [y] },
      /cycle: "p", "q"/,
    ],
    [
      "a value produced twice",
      { nodes: [node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])], inputs: [x], outputs: [y] },
      /two nodes produce "y"/,
    ],
    ["an input produced by a node", { nodes: [node("Neg", ["x"], ["x"])], inputs: [x], outputs: [x] }, /cycle|twice/],
    ["an unknown name", { nodes: [node("Neg", ["zz"], ["y"])], outputs: [y] }, /nothing produces "zz" \(node "y"\)/],
    ["an unknown output", { nodes: [], inputs: [x], outputs: [y] }, /nothing produces "y"/],
    ["two outputs of one name", { nodes: [node("Neg", ["x"], ["y"])], inputs: [x], outputs: [y, y] }, /same name/],
    ["two inputs of one name", { nodes: [node("Neg", ["x"], ["y"])], inputs: [x, x], outputs: [y] }, /two inputs/],
    ["an output too many", { nodes: [node("Neg", ["x"], ["z", "y"])], inputs: [x], outputs: [y] }, /no output 1/],
    [
      "an input too many",
      { nodes: [node("Relu", ["x", "x"], ["y"])], inputs: [x], outputs: [y] },
      /Relu: takes 1 inputs, got 2 \(node "y"\)/,
    ],
    [
      "an attribute of the wrong type",
      {
        nodes: [node("Softmax", ["x"], ["y"], { attributes: { axis: { string: "a" } } })],
        inputs: [x],
        outputs: [y],
      },
      /attribute "axis" must be int, is string/,
    ],
    [
      "weights that do not fill their dimensions",
      {
        nodes: [node("Neg", ["w"], ["y"])],
        outputs: [y],
        initializers: { w: { ...f32(1, 2), shape: [2 ** 30] } },
      },
      /"w": f32\[1073741824\] needs 1073741824 elements, the file has 8 bytes/,
    ],
  ];
  test.each(cases)("with %s gives a FormatError", async (_, m, message) => {
    const e = await fails(m);
    expect(e).toBeInstanceOf(FormatError);
    expect(String(e)).toMatch(message);
  });

  test("lists everything that is not supported at once, branches included", async () => {
    const branch = { nodes: [node("Nope", ["x"], ["r"])], outputs: [{ name: "r" }] };
    const e = await fails({
      nodes: [
        node("Foo", ["x"], ["a"]),
        node("Bar", ["a"], ["b"], { domain: "com.example" }),
        node("Cast", ["b"], ["c"], { attributes: { to: { int: 14 } } }),
        node("If", ["c"], ["d"], { attributes: { then_branch: { graph: branch }, else_branch: { graph: branch } } }),
        node("Add", ["d", "x"], ["y"]),
      ],
      inputs: [x],
      outputs: [y],
    });
    expect(e).toBeInstanceOf(UnsupportedOpError);
    expect((e as UnsupportedOpError).missing).toEqual(["Foo (opset 21)", "Nope (opset 21)", "com.example::Bar"]);
  });
});

/** Attributes whose text chooses what is computed. */
test.each([
  ["Gelu", "approximate", "none, tanh"],
  ["BitShift", "direction", "LEFT, RIGHT"],
  ["StringNormalizer", "case_change_action", "NONE, LOWER, UPPER"],
  ["TfIdfVectorizer", "mode", "TF, IDF, TFIDF"],
  ["MaxPool", "auto_pad", "NOTSET, SAME_UPPER, SAME_LOWER, VALID"],
  ["GridSample", "mode", "linear, nearest, cubic, bilinear, bicubic"],
  ["ai.onnx.preview.training::Momentum", "mode", "standard, nesterov"],
])("%s refuses another %s than %s", async (type, attribute, values) => {
  const [domain, name] = type.includes("::") ? type.split("::") : ["", type];
  for (const string of ["other", "constructor"]) {
    const nodes = [node(name, ["x", "x", "x", "x", "x"], ["y"], { domain, attributes: { [attribute]: { string } } })];
    const e = await fails({ nodes, inputs: [x], outputs: [y], domains: domain ? { [domain]: 1 } : undefined });
    expect(e).toBeInstanceOf(UnsupportedOpError);
    expect((e as Error).message).toContain(`${attribute} "${string}" (it is none of ${values})`);
  }
});

describe("inputs of a run", () => {
  const m: ModelSpec = {
    nodes: [node("Neg", ["x"], ["y"])],
    inputs: [{ name: "x", dtype: "f32", shape: ["n", 2] }],
    outputs: [y],
  };
  test.each([
    ["another name", { z: f32(1) }, /no input "z"; it has "x"/],
    ["a missing one", {}, /input "x" \(f32\[n,2\]\) is missing/],
    ["another shape", { x: f32(1, 2) }, /f32\[n,2\], got f32\[2\]/],
    ["another dtype", { x: hostTensor([[1n, 2n]]) }, /f32\[n,2\], got i64\[1,2\]/],
    ["an array of another dtype", { x: Int32Array.of(1, 2) }, /f32\[n,2\], got Int32Array/],
    ["an array that is no whole number of rows", { x: Float32Array.of(1, 2, 3) }, /3 elements are no multiple of 2/],
  ])("with %s are refused", async (_, inputs, message) => {
    using session = await load(encodeModel(m), { device: "cpu" });
    await expect(session.run(inputs)).rejects.toThrow(message);
  });
});
