/** Control flow, sequences and optionals, run through the public API. */
import { describe, expect, test } from "vitest";
import { importOnnx } from "../../src/formats/onnx/index.ts";
import {
  DeviceError,
  DeviceTensor,
  type DType,
  DTypeError,
  FormatError,
  type HostTensor,
  hostTensor,
  InputError,
  type LoadOptions,
  load,
  tensor,
} from "../../src/index.ts";
import type { HostValue } from "../../src/tensor/tensor.ts";
import { encodeModel, type GraphSpec, type ModelSpec, type NodeSpec, node, type PortSpec } from "./encode.ts";

const f32 = (...values: number[]): HostTensor => hostTensor(values);
const i64 = (value: number): HostTensor => ({ dtype: "i64", shape: [], data: BigInt64Array.of(BigInt(value)) });
const bool = (value: boolean): HostTensor => ({ dtype: "bool", shape: [], data: Uint8Array.of(value ? 1 : 0) });

async function run(
  m: ModelSpec,
  inputs: Record<string, HostValue>,
  options: LoadOptions = {},
): Promise<Record<string, HostValue>> {
  using session = await load(encodeModel(m), { device: "cpu", ...options });
  return (await session.run(inputs as Record<string, HostTensor>)) as Record<string, HostValue>;
}
const numbers = (v: HostValue): number[] => Array.from((v as HostTensor).data as Float32Array, Number);
const shape = (v: HostValue): readonly number[] => (v as HostTensor).shape;

describe("If", () => {
  const branch = (type: string): GraphSpec => ({
    nodes: [node(type, ["shared", "w"], ["r"])],
    outputs: [{ name: "r" }],
    initializers: { w: f32(10) },
  });
  const model: ModelSpec = {
    nodes: [
      node("Neg", ["x"], ["shared"]),
      node("If", ["c"], ["y"], { then_branch: { graph: branch("Add") }, else_branch: { graph: branch("Mul") } }),
    ],
    inputs: [
      { name: "c", dtype: "bool", shape: [] },
      { name: "x", dtype: "f32", shape: ["n"] },
    ],
    outputs: [{ name: "y" }],
  };

  test("runs the branch that the condition names, with values from outside", async () => {
    expect(numbers((await run(model, { c: bool(true), x: f32(1, 2) })).y)).toEqual([9, 8]);
    expect(numbers((await run(model, { c: bool(false), x: f32(1, 2) })).y)).toEqual([-10, -20]);
  });

  test("with a constant condition becomes its branch", async () => {
    const fixed = { ...model, inputs: model.inputs?.slice(1), initializers: { c: bool(false) } };
    const { graph } = await importOnnx(encodeModel(fixed));
    expect(graph.nodes.map((n) => n.op.name)).toEqual(["neg", "mul"]);
    expect(numbers((await run(fixed, { x: f32(3) })).y)).toEqual([-30]);
  });
});

describe("Loop", () => {
  const ports = (...names: string[]) => names.map((name) => ({ name }));
  const body: GraphSpec = {
    nodes: [
      node("Add", ["a", "step"], ["a2"]),
      node("Less", ["a2", "limit"], ["go"]),
      node("Mul", ["a2", "a2"], ["square"]),
    ],
    inputs: [
      { name: "i", dtype: "i64" },
      { name: "c", dtype: "bool" },
      { name: "a", dtype: "f32", shape: [1] },
    ],
    outputs: [...ports("go", "a2"), { name: "square", dtype: "f32", shape: [1] }],
    initializers: { limit: f32(5) },
  };
  const model = (inputs: string[]): ModelSpec => ({
    nodes: [node("Loop", inputs, ["last", "squares"], { body: { graph: body } })],
    inputs: [
      { name: "m", dtype: "i64", shape: [] },
      { name: "c", dtype: "bool", shape: [] },
      { name: "a0", dtype: "f32", shape: [1] },
      { name: "step", dtype: "f32", shape: [1] },
    ],
    outputs: ports("last", "squares"),
  });
  const given = (m: number, c: boolean) => ({ m: i64(m), c: bool(c), a0: f32(0), step: f32(2) });

  test("stops at the trip count, or when the condition fails", async () => {
    const both = model(["m", "c", "a0"]);
    const short = await run(both, given(2, true));
    expect([numbers(short.last), numbers(short.squares), shape(short.squares)]).toEqual([[4], [4, 16], [2, 1]]);
    const long = await run(both, given(100, true));
    expect([numbers(long.last), numbers(long.squares)]).toEqual([[6], [4, 16, 36]]);
  });

  test("without turns returns its state and empty stacks", async () => {
    const none = await run(model(["m", "c", "a0"]), given(9, false));
    expect([numbers(none.last), shape(none.squares)]).toEqual([[0], [0, 1]]);
  });

  test("without turns gives stacks of the rank that its body would give, declared or not", async () => {
    const inner: GraphSpec = {
      nodes: [
        node("Identity", ["c"], ["go"]),
        node("Neg", ["a"], ["b"]),
        node("Concat", ["b", "outer"], ["wide"], { axis: { int: 1 } }),
        node("Shape", ["wide"], ["dims"]),
        node("Gather", ["a", "i"], ["row"]),
      ],
      inputs: ports("i", "c", "a"),
      outputs: ports("go", "b", "wide", "dims", "row"),
    };
    const m: ModelSpec = {
      nodes: [node("Loop", ["m", "", "x"], ["last", "wides", "dims", "rows"], { body: { graph: inner } })],
      inputs: [
        { name: "m", dtype: "i64", shape: [] },
        { name: "x", dtype: "f32", shape: ["n", 3] },
        { name: "outer", dtype: "f32", shape: ["n", "k"] },
      ],
      outputs: ports("last", "wides", "dims", "rows"),
    };
    const zeros = (...dims: number[]) => hostTensor(new Float32Array(dims[0] * dims[1]), { shape: dims });
    for (const turns of [0, 2]) {
      const { wides, dims, rows } = await run(m, { m: i64(turns), x: zeros(2, 3), outer: zeros(2, 4) });
      expect([wides, dims, rows].map(shape)).toEqual([
        [turns, 2, 7],
        [turns, 2],
        [turns, 3],
      ]);
      expect((dims as HostTensor).dtype).toBe("i64");
    }
    // A turn would fail: none is taken.
    const none = await run(m, { m: i64(0), x: zeros(2, 3), outer: zeros(1, 4) });
    expect(numbers(none.last)).toEqual(Array(6).fill(0));
  });

  test.each([0, 2])("of %i turns gives stacks whose shape depends on data", async (turns) => {
    const inner: GraphSpec = {
      nodes: [node("Identity", ["c"], ["go"]), node("NonZero", ["x"], ["places"])],
      inputs: ports("i", "c"),
      outputs: ports("go", "places"),
    };
    const m: ModelSpec = {
      nodes: [
        node("Loop", ["m", ""], ["all"], { body: { graph: inner } }),
        node("Transpose", ["all"], ["y"], { perm: { ints: [0, 2, 1] } }),
      ],
      inputs: ports("m", "x"),
      outputs: ports("y"),
    };
    const { y } = await run(m, { m: i64(turns), x: f32(0, 5, 6) });
    expect([shape(y), (y as HostTensor).dtype]).toEqual([[turns, 2, 1], "i64"]);
  });

  test("needs neither count nor condition", async () => {
    expect(numbers((await run(model(["", "", "a0"]), given(0, true))).last)).toEqual([6]);
  });

  test("carries sequences", async () => {
    const m: ModelSpec = {
      nodes: [
        node("SequenceEmpty", [], ["s0"]),
        node("Loop", ["m", "", "s0"], ["s"], {
          body: {
            graph: {
              nodes: [
                node("Identity", ["c"], ["go"]),
                node("Cast", ["i"], ["f"], { to: { int: 1 } }),
                node("SequenceInsert", ["s", "f"], ["t"]),
              ],
              inputs: ports("i", "c", "s"),
              outputs: ports("go", "t"),
            },
          },
        }),
        node("ConcatFromSequence", ["s"], ["y"], { axis: { int: 0 }, new_axis: { int: 1 } }),
      ],
      inputs: [{ name: "m", dtype: "i64", shape: [] }],
      outputs: ports("s", "y"),
    };
    const { s, y } = await run(m, { m: i64(3) });
    expect((s as HostTensor[]).map(numbers)).toEqual([[0], [1], [2]]);
    expect(numbers(y)).toEqual([0, 1, 2]);
  });

  test("stacks constants, and what it carries", async () => {
    const m: ModelSpec = {
      nodes: [
        node("Loop", ["m", "", "x"], ["last", "all", "fixed"], {
          body: {
            graph: {
              nodes: [node("Identity", ["c"], ["go"]), node("Neg", ["a"], ["b"]), node("Identity", ["k"], ["same"])],
              inputs: ports("i", "c", "a"),
              outputs: ports("go", "b", "b", "same"),
            },
          },
        }),
      ],
      inputs: [
        { name: "m", dtype: "i64", shape: [] },
        { name: "x", dtype: "f32", shape: [1] },
      ],
      initializers: { k: f32(7, 8) },
      outputs: ports("last", "all", "fixed"),
    };
    const { last, all, fixed } = await run(m, { m: i64(3), x: f32(5) });
    expect([last, all, fixed].map(numbers)).toEqual([[-5], [-5, 5, -5], [7, 8, 7, 8, 7, 8]]);
    expect(shape(fixed)).toEqual([3, 2]);
  });

  test("whose body takes another number of values is refused", async () => {
    await expect(importOnnx(encodeModel(model(["m", "c", "a0", "step"])))).rejects.toThrow(FormatError);
  });
});

describe("dtypes of one value", () => {
  const ports = (...names: string[]): PortSpec[] => names.map((name) => ({ name }));
  const flag: PortSpec = { name: "c", dtype: "bool", shape: [] };
  const x: PortSpec = { name: "x", dtype: "f32", shape: [2] };

  test("that differ between branches are refused", async () => {
    const branch = (type: string, dtype: DType) => ({
      graph: { nodes: [node(type, ["x"], [type])], outputs: [{ name: type, dtype }] },
    });
    const m = (other: DType): ModelSpec => ({
      nodes: [node("If", ["c"], ["y"], { then_branch: branch("Relu", "f32"), else_branch: branch("Shape", other) })],
      inputs: [flag, x],
      outputs: [{ name: "y", dtype: "f32" }],
    });
    await expect(importOnnx(encodeModel(m("i64")))).rejects.toThrow(
      'If: the branches differ in dtype: "Relu" is f32, "Shape" i64 (node "y")',
    );
    await expect(run(m("f32"), { c: bool(false), x: f32(1, 2) })).rejects.toThrow(
      'output "Shape" is i64 and declared f32',
    );
  });

  test("that a loop carries stay", async () => {
    const m = (before?: DType, after?: DType): ModelSpec => ({
      nodes: [
        node("Loop", ["m", "", "x"], ["y"], {
          body: {
            graph: {
              nodes: [node("Identity", ["c"], ["go"]), node("Cast", ["a"], ["b"], { to: { int: 7 } })],
              inputs: [...ports("i", "c"), { name: "a", dtype: before }],
              outputs: [{ name: "go" }, { name: "b", dtype: after }],
            },
          },
        }),
      ],
      initializers: { m: i64(2) },
      inputs: [x],
      outputs: ports("y"),
    });
    await expect(importOnnx(encodeModel(m("f32", "i64")))).rejects.toThrow(
      'Loop: what one turn takes and gives differ in dtype: "a" is f32, "b" i64 (node "y")',
    );
    await expect(run(m(), { x: f32(1, 2) })).rejects.toThrow(
      'loop: carried value 0 was f32 and is i64 after a turn (node "y")',
    );
  });
});

describe("Scan", () => {
  const body: GraphSpec = {
    nodes: [node("Add", ["s", "e"], ["t"]), node("Identity", ["t"], ["o"])],
    inputs: [
      { name: "s", dtype: "f32" },
      { name: "e", dtype: "f32" },
    ],
    outputs: [{ name: "t" }, { name: "o", dtype: "f32", shape: [2] }],
  };
  const model = (attributes: NodeSpec["attributes"], opset = 21, inputs = ["s0", "x"]): ModelSpec => ({
    nodes: [
      node("Scan", inputs, ["last", "sums"], { body: { graph: body }, num_scan_inputs: { int: 1 }, ...attributes }),
    ],
    inputs: [
      { name: "s0", dtype: "f32" },
      { name: "x", dtype: "f32" },
    ],
    outputs: [{ name: "last" }, { name: "sums" }],
    opset,
  });
  const x = hostTensor([
    [1, 2],
    [3, 4],
    [5, 6],
  ]);

  test("runs along axis 0", async () => {
    const { last, sums } = await run(model({}), { s0: f32(0, 0), x });
    expect([numbers(last), numbers(sums), shape(sums)]).toEqual([
      [9, 12],
      [1, 2, 4, 6, 9, 12],
      [3, 2],
    ]);
  });

  test("runs along other axes, backwards, and stacks where it is told", async () => {
    const attributes = {
      scan_input_axes: { ints: [-1] },
      scan_input_directions: { ints: [1] },
      scan_output_axes: { ints: [1] },
      scan_output_directions: { ints: [1] },
    };
    const columns = hostTensor([
      [1, 3, 5],
      [2, 4, 6],
    ]);
    const { last, sums } = await run(model(attributes), { s0: f32(0, 0), x: columns });
    expect([numbers(last), numbers(sums), shape(sums)]).toEqual([
      [9, 12],
      [9, 8, 5, 12, 10, 6],
      [2, 3],
    ]);
  });

  test("of length 0 returns its state", async () => {
    const { last, sums } = await run(model({}), {
      s0: f32(7, 8),
      x: hostTensor(new Float32Array(0), { shape: [0, 2] }),
    });
    expect([numbers(last), shape(sums)]).toEqual([
      [7, 8],
      [0, 2],
    ]);
  });

  test("of length 0 gives stacks of the rank that its body would give, declared or not", async () => {
    const undeclared: GraphSpec = { ...body, outputs: [{ name: "t" }, { name: "o" }] };
    const { sums } = await run(
      model({ body: { graph: undeclared }, scan_input_axes: { ints: [-1] }, scan_output_axes: { ints: [-1] } }),
      { s0: f32(7, 8), x: hostTensor(new Float32Array(0), { shape: [2, 0] }) },
    );
    expect(shape(sums)).toEqual([2, 0]);
  });

  test("of opset 8 has a batch axis and lengths", async () => {
    const m = model({}, 8, ["lengths", "s0", "x"]);
    m.inputs?.unshift({ name: "lengths", dtype: "i64" });
    const batch = hostTensor([
      [
        [1, 2],
        [3, 4],
      ],
      [
        [5, 6],
        [7, 8],
      ],
    ]);
    const { last, sums } = await run(m, {
      lengths: hostTensor([2n, 1n]),
      s0: hostTensor([
        [0, 0],
        [1, 1],
      ]),
      x: batch,
    });
    expect(numbers(last)).toEqual([4, 6, 6, 7]);
    expect([shape(sums), numbers(sums)]).toEqual([
      [2, 2, 2],
      [1, 2, 4, 6, 6, 7, 0, 0],
    ]);
    const none = (...dims: number[]) => hostTensor(new Float32Array(0), { shape: dims });
    const empty = await run(m, { lengths: hostTensor(new BigInt64Array(0)), s0: none(0, 2), x: none(0, 3, 2) });
    expect([empty.last, empty.sums]).toEqual([none(0, 2), none(0, 3, 2)]);
  });
});

describe("sequences and optionals", () => {
  const sequence = { name: "s", dtype: "f32" as const, sequence: true };
  const apply = async (nodes: NodeSpec[], inputs: Record<string, HostValue>, ports = [sequence]): Promise<HostValue> =>
    (await run({ nodes, inputs: ports, outputs: [{ name: "y" }] }, inputs)).y;
  const s = [f32(1), f32(2, 3), f32(4)];
  const at = (i: number, type = "SequenceAt"): Promise<HostValue> =>
    apply([node("Constant", [], ["i"], { value_int: { int: i } }), node(type, ["s", "i"], ["y"])], { s });

  test("positions count from either end", async () => {
    expect(numbers(await at(1))).toEqual([2, 3]);
    expect(numbers(await at(-1))).toEqual([4]);
    expect((await at(0, "SequenceErase")) as HostTensor[]).toHaveLength(2);
    await expect(at(3)).rejects.toThrow(/position 3 is outside a sequence of 3/);
    await expect(at(-4, "SequenceErase")).rejects.toThrow(InputError);
  });

  test("have a length and are joined", async () => {
    expect(numbers(await apply([node("SequenceLength", ["s"], ["y"])], { s }))).toEqual([3]);
    const joined = await apply([node("ConcatFromSequence", ["s"], ["y"], { axis: { int: 0 } })], { s });
    expect(numbers(joined)).toEqual([1, 2, 3, 4]);
  });

  test("a tensor given for one is refused", async () => {
    const wrong = [f32(1), { dtype: "i32", shape: [1], data: Int32Array.of(1) }] as HostTensor[];
    const given = apply([node("SequenceLength", ["s"], ["y"])], { s: wrong });
    await expect(given).rejects.toThrow(DTypeError);
    await expect(given).rejects.toThrow('input "s", number 1 is f32, got i32');
    await expect(apply([node("SequenceLength", ["s"], ["y"])], { s: f32(1) })).rejects.toThrow(
      "sequenceLength: takes a sequence, got f32[1]",
    );
  });

  test("what is in one is checked", async () => {
    const given = (v: unknown): Promise<HostValue> =>
      apply([node("ConcatFromSequence", ["s"], ["y"], { axis: { int: 0 } })], { s: v as HostValue });
    const short = { dtype: "f32", shape: [3], data: Float32Array.of(5) };
    await expect(given([f32(1), short])).rejects.toThrow('input "s", number 1: f32[3] needs 3 elements, data has 1');
    for (const v of ["a", 1, new Float32Array(2)])
      await expect(given(v)).rejects.toThrow(
        new InputError('input "s" takes { dtype, shape, data }, or an array of these for a sequence'),
      );
    for (const v of [1, "a", new Float32Array(1), [f32(1)], null])
      await expect(given([f32(1), v])).rejects.toThrow(
        new InputError('input "s", number 1 takes { dtype, shape, data }'),
      );
    const { dtype, shape, data } = f32(1);
    for (const v of [new DeviceTensor({ dtype, shape }, f32(1)), tensor(data as Float32Array)])
      await expect(given([v])).rejects.toThrow(
        new InputError('input "s", number 0 has to be on the host: pass await t.toHost()'),
      );
  });

  describe("what is held on the host counts against the memory limit", () => {
    const ports = (...names: string[]) => names.map((name) => ({ name }));
    const forever = (nodes: NodeSpec[], carried: string[], given: string[]): NodeSpec =>
      node("Loop", ["", "", ...carried], ["y"], {
        body: {
          graph: {
            nodes: [node("Identity", ["c"], ["go"]), ...nodes],
            inputs: ports("i", "c", ...given),
            outputs: ports("go", "r"),
          },
        },
      });
    const perElement = { nodes: [node("Expand", ["e", "wide"], ["r"])], inputs: ports("e"), outputs: ports("r") };
    const wide = node("Constant", [], ["wide"], { value_ints: { ints: [1000] } });
    const long = hostTensor(new Float32Array(100));
    test.each<[string, NodeSpec[], HostValue]>([
      ["loop", [forever([node("Neg", ["s"], ["r"])], [], [])], f32(1)],
      [
        "sequenceInsert",
        [node("SequenceEmpty", [], ["none"]), forever([node("SequenceInsert", ["b", "s"], ["r"])], ["none"], ["b"])],
        f32(1),
      ],
      ["scan", [wide, node("Scan", ["s"], ["y"], { body: { graph: perElement }, num_scan_inputs: { int: 1 } })], long],
      [
        "sequenceMap",
        [wide, node("SequenceMap", ["s"], ["y"], { body: { graph: perElement } })],
        Array(100).fill(f32(1)),
      ],
      [
        "splitToSequence",
        [node("SplitToSequence", ["s"], ["y"])],
        hostTensor(new Uint8Array(0), { shape: [2 ** 40, 0] }),
      ],
      ["concatFromSequence", [node("ConcatFromSequence", ["s"], ["y"], { axis: { int: 0 } })], Array(1000).fill(long)],
    ])("%s", async (op, nodes, given) => {
      const model = { nodes, inputs: ports("s"), outputs: ports("y") };
      const ran = run(model, { s: given }, { memoryLimit: 100_000 });
      await expect(ran).rejects.toThrow(DeviceError);
      await expect(ran).rejects.toThrow(`${op}: would hold more than the limit of 100000 bytes on the host`);
    });
  });

  test("SequenceMap goes over sequences and passes tensors along", async () => {
    const body: GraphSpec = {
      nodes: [node("Add", ["a", "b"], ["t"])],
      inputs: [{ name: "a" }, { name: "b" }],
      outputs: [{ name: "t" }],
    };
    const nodes = [
      node("Constant", [], ["k"], { value_float: { float: 10 } }),
      node("SequenceMap", ["s", "k"], ["y"], { body: { graph: body } }),
    ];
    expect(((await apply(nodes, { s })) as HostTensor[]).map(numbers)).toEqual([[11], [12, 13], [14]]);
  });

  test("SplitToSequence takes pieces of one size, or of given ones", async () => {
    const x = hostTensor([[1, 2, 3, 4, 5]]);
    const port = { name: "s", dtype: "f32" as const, shape: [1, 5], sequence: false };
    const split = (attributes: NodeSpec["attributes"], sizes?: HostTensor): Promise<HostValue> =>
      apply(
        [
          ...(sizes ? [node("Constant", [], ["k"], { value: { tensor: sizes } })] : []),
          node("SplitToSequence", sizes ? ["s", "k"] : ["s"], ["y"], { axis: { int: 1 }, ...attributes }),
        ],
        { s: x },
        [port],
      );
    const pieces = (v: HostValue): unknown => (v as HostTensor[]).map((t) => [numbers(t), t.shape.length]);
    expect(pieces(await split({}, i64(2)))).toEqual([
      [[1, 2], 2],
      [[3, 4], 2],
      [[5], 2],
    ]);
    expect(pieces(await split({}, hostTensor([1n, 4n])))).toEqual([
      [[1], 2],
      [[2, 3, 4, 5], 2],
    ]);
    expect(pieces(await split({ keepdims: { int: 0 } }))).toEqual([1, 2, 3, 4, 5].map((n) => [[n], 1]));
    await expect(split({}, hostTensor([1n, 1n]))).rejects.toThrow(/does not add up to 5/);
  });

  test("optionals are a value or nothing", async () => {
    const port = { name: "s" } as typeof sequence;
    const has = [node("OptionalHasElement", ["s"], ["y"])];
    const get = [node("OptionalGetElement", ["s"], ["y"])];
    expect(numbers(await apply(has, { s: null }, [port]))).toEqual([0]);
    expect(numbers(await apply(has, { s: f32(1) }, [port]))).toEqual([1]);
    expect(numbers(await apply(get, { s: f32(5) }, [port]))).toEqual([5]);
    await expect(apply(get, { s: null }, [port])).rejects.toThrow("optionalGetElement: the optional is empty");
  });
});
