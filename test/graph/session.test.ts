/** What users hold: sessions and lazy tensors, their errors, turns and ends. */
import { describe, expect, test, vi } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import type { SymbolicValue } from "../../src/graph/builder.ts";
import { compile } from "../../src/graph/compile.ts";
import { type GraphDefinition, graph } from "../../src/graph/define.ts";
import { nextTurn } from "../../src/graph/drive.ts";
import { planInputs } from "../../src/graph/preview.ts";
import {
  add,
  and,
  cast,
  concat,
  DisposedError,
  DTypeError,
  equal,
  InputError,
  identity,
  load,
  matmul,
  mul,
  nonZero,
  or,
  relu,
  reshape,
  ShapeError,
  shape,
  softmax,
  tensor,
  xor,
} from "../../src/index.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import { encodeModel, node } from "../onnx/encode.ts";

const devices = {
  cpu: () => cpu(),
  wasm: () => wasm({ threads: 1 }),
  "wasm on two threads": () => wasm({ threads: 2, parallelWork: 0 }),
};

describe.each(Object.entries(devices))("a session on %s", (_, device) => {
  const doubled = () =>
    compile(
      graph(({ input }) => {
        const x = input("x", "f32", ["n", 3]);
        return { y: add(x, x), rows: shape(x, {}) };
      }),
      { device: device() },
    );

  test("takes tensors, typed arrays and lazy tensors, and any number of rows", async () => {
    using s = await doubled();
    const want = [2, 4, 6];
    expect(Array.from((await s.run({ x: Float32Array.of(1, 2, 3) }))["y"].data as Float32Array)).toEqual(want);
    expect(Array.from((await s.run({ x: hostTensor([[1, 2, 3]]) }))["y"].data as Float32Array)).toEqual(want);
    expect(Array.from((await s.run({ x: tensor([[1, 2, 3]]) }))["y"].data as Float32Array)).toEqual(want);
    const two = await s.run({ x: new Float32Array(6).fill(1) });
    expect(two["y"].shape).toEqual([2, 3]);
    expect(two["rows"]).toEqual({ dtype: "i64", shape: [2], data: BigInt64Array.of(2n, 3n) });
    expect(s.runSync({ x: Float32Array.of(1, 2, 3) })["y"].shape).toEqual([1, 3]);
  });

  test("without a promise measures its steps, and refuses what would have to wait", async () => {
    using s = await doubled();
    const x = Float32Array.of(1, 2, 3);
    const y = s.runSync({ x }, { profile: true })["y"].data;
    expect(Array.from(y as Float32Array)).toEqual([2, 4, 6]);
    expect(s.explain().some((row) => row.ms !== undefined && row.ms >= 0)).toBe(true);
    for (const options of [{ keepOnDevice: true }, { signal: new AbortController().signal }])
      expect(() => s.runSync({ x }, options as never)).toThrow(
        new InputError("runSync: keepOnDevice and signal take run()"),
      );
    for (const options of [null, "profile", { profil: true }])
      expect(() => s.runSync({ x }, options as never)).toThrow(
        new InputError("runSync: options are an object of profile, state, rows, outputs"),
      );
    const pending = s.run({ x }, { signal: new AbortController().signal });
    expect(() => s.runSync({ x })).toThrow(/still under way/);
    expect((await pending)["y"].data).toEqual(y);
    expect(s.runSync({ x })["y"].data).toEqual(y);
  });

  test("has weights of any kind of tensor, and of nothing else", async () => {
    const w = tensor([[1, 2, 3]]);
    for (const weights of [w, hostTensor([[1, 2, 3]])]) {
      const g = graph(({ input, weight }) => ({ y: mul(input("x", "f32", [1, 3]), weight(weights)) }));
      using s = await compile(g, { device: device() });
      expect((await s.run({ x: Float32Array.of(1, 1, 2) }))["y"].data).toEqual(Float32Array.of(1, 2, 6));
    }
    const made = (weights: unknown) => () => graph(({ weight }) => ({ y: weight(weights as typeof w) }));
    expect(made(add(w, w))).toThrow(/isn't computed yet/);
    expect(made([1, 2, 3])).toThrow(DTypeError);
    expect(made({ dtype: "f32", shape: [2], data: new Float32Array(3) })).toThrow(ShapeError);
  });

  test.each([true, false])(
    "computes the outputs that it is told, and takes what these need; optimised: %s",
    async (optimize) => {
      const sums = graph(({ input, weight }) => {
        const [x, z] = [input("x", "f32", ["n", 2]), input("z", "f32", ["n", 2])];
        const known = weight(hostTensor([[10, 20]]));
        return { both: add(x, z), first: relu(x), z, product: mul(x, known) };
      });
      const [x, z] = [Float32Array.of(-1, 2), Float32Array.of(3, 4)];
      const options = { device: device(), optimize };
      const ofSome = async (outputs: readonly string[], inputs: Record<string, Float32Array>) => {
        using s = await compile(sums, { ...options, outputs });
        expect(s.inputs.map((p) => p.name)).toEqual(Object.keys(inputs));
        const given = await s.run(inputs);
        expect(s.outputs.map((p) => p.name)).toEqual(Object.keys(given));
        return Object.fromEntries(Object.entries(given).map(([name, t]) => [name, [...(t.data as Float32Array)]]));
      };
      expect(await ofSome(["first"], { x })).toEqual({ first: [0, 2] });
      // In the graph's order, whatever that of the names.
      expect(Object.entries(await ofSome(["product", "both", "both"], { x, z }))).toEqual([
        ["both", [2, 6]],
        ["product", [-10, 40]],
      ]);
      expect(await ofSome(["z"], { z })).toEqual({ z: [3, 4] });
      using some = await compile(sums, { ...options, outputs: ["first"] });
      await expect(some.run({ x, z })).rejects.toThrow('the model has no input "z"; it has "x"');
      expect(some.graph.constants.size).toBe(0);
      const refused = (outputs: unknown) => expect(compile(sums, { ...options, outputs: outputs as string[] })).rejects;
      await refused(["firts"]).toThrow(
        new InputError('compile: outputs: the model has no output "firts"; it has "both", "first", "z", "product"'),
      );
      await refused("first").toThrow(new InputError(`compile: outputs takes an array of outputs' names, got "first"`));
      await refused([]).toThrow(new InputError("compile: outputs names none: leave it out for all of them"));
    },
  );

  test("computes an output of a file whose branch takes values around it", async () => {
    const branch = (name: string, from: string) => ({
      graph: { nodes: [node("Identity", [from], [name])], outputs: [{ name }] },
    });
    const file = encodeModel({
      nodes: [
        node("Neg", ["x"], ["negative"]),
        node("Exp", ["x"], ["power"]),
        node("If", ["c"], ["y"], { then_branch: branch("a", "negative"), else_branch: branch("b", "z") }),
      ],
      inputs: [
        { name: "x", dtype: "f32", shape: [1] },
        { name: "z", dtype: "f32", shape: [1] },
        { name: "c", dtype: "bool", shape: [] },
      ],
      outputs: [{ name: "y" }, { name: "power" }],
    });
    using s = await load(file, { device: device(), outputs: ["y"] });
    const [x, z] = [Float32Array.of(2), Float32Array.of(7)];
    for (const [c, y] of [
      [1, -2],
      [0, 7],
    ])
      expect(await s.run({ x, z, c: Uint8Array.of(c) })).toEqual({
        y: { dtype: "f32", shape: [1], data: Float32Array.of(y) },
      });
    using power = await load(file, { device: device(), outputs: ["power"] });
    expect(power.inputs.map((p) => p.name)).toEqual(["x"]);
  });

  test("keeps as many plans as it is told", async () => {
    const rows = graph(({ input }) => ({ y: relu(input("x", "f32", ["n"])) }));
    for (const [plans, kept] of [
      [undefined, 8],
      [12, 12],
      [1, 1],
    ]) {
      using s = await compile(rows, { device: device(), plans });
      for (let n = 1; n <= 15; n++) await s.run({ x: new Float32Array(n) });
      expect(s.explain()).toHaveLength(kept!);
      expect((await s.run({ x: Float32Array.of(-1, 1) }))["y"].data).toEqual(Float32Array.of(0, 1));
    }
  });

  test("tells options that are none", async () => {
    const net = graph(({ input }) => ({ y: relu(input("x", "f32", ["n"])) }));
    for (const plans of [-1, 0, Number.NaN, "many"])
      await expect(compile(net, { device: device(), plans: plans as never })).rejects.toThrow(
        new InputError(`compile: plans takes a number from 1, got ${plans}`),
      );
    // What does not fit tells the limit.
    for (const memoryLimit of [-1, "1 GB"]) {
      using s = await compile(net, { device: device(), memoryLimit: memoryLimit as never });
      await expect(s.run({ x: new Float32Array(4) })).rejects.toThrow(`does not fit in memory of ${memoryLimit} bytes`);
    }
    await expect(compile(net, undefined as never)).rejects.toThrow(/device takes a backend/);
    using s = await compile(net, { device: device() });
    await expect(s.warmup({ n: 1, batchh: 4 })).rejects.toThrow(
      new InputError('warmup: no input has a dimension "batchh"; there are "n"'),
    );
    for (const n of [-1, Number.NaN, undefined])
      await expect(s.warmup({ n } as never)).rejects.toThrow('warmup: input "x" is f32[n]: pass { "n": size }');
  });

  test("outputs belong to the caller", async () => {
    using s = await doubled();
    const first = (await s.run({ x: Float32Array.of(1, 2, 3) }))["y"].data as Float32Array;
    first.fill(9);
    const second = (await s.run({ x: Float32Array.of(1, 2, 3) }))["y"].data;
    expect(Array.from(second as Float32Array)).toEqual([2, 4, 6]);
    expect(Array.from(first)).toEqual([9, 9, 9]);
  });

  test("names what is wrong with an input", async () => {
    using s = await doubled();
    await expect(s.run({})).rejects.toThrow(/input "x" \(f32\[n,3\]\) is missing/);
    await expect(s.run({ x: Float32Array.of(1, 2, 3), z: Float32Array.of(1) })).rejects.toThrow(
      /no input "z"; it has "x"/,
    );
    await expect(s.run({ x: Float32Array.of(1, 2) })).rejects.toThrow(ShapeError);
    await expect(s.run({ x: hostTensor([1, 2, 3]) })).rejects.toThrow(/is f32\[n,3\], got f32\[3\]/);
    await expect(s.run({ x: Int32Array.of(1, 2, 3) })).rejects.toThrow(DTypeError);
    await expect(s.run({ x: { dtype: "f32", shape: [1, 3], data: Float32Array.of(1) } })).rejects.toThrow(
      /needs 3 elements/,
    );
    await expect(s.run({ x: "text" as never })).rejects.toThrow(InputError);
    await expect(s.run(null as never)).rejects.toThrow(InputError);
    // And nothing else is lost.
    expect((await s.run({ x: Float32Array.of(1, 2, 3) }))["y"].data[0]).toBe(2);
  });

  test("overlapping runs take turns and do not mix", async () => {
    using s = await doubled();
    const signal = new AbortController().signal;
    const runs = Array.from({ length: 12 }, (_, i) =>
      s.run({ x: new Float32Array(3 * (1 + (i % 3))).fill(i) }, i % 2 ? { signal } : {}),
    );
    const results = await Promise.all(runs);
    results.forEach((r, i) => {
      expect(r["y"].shape).toEqual([1 + (i % 3), 3]);
      expect(Array.from(r["y"].data as Float32Array).every((v) => v === 2 * i)).toBe(true);
    });
  });

  test("stops between steps when aborted, and runs again afterwards", async () => {
    const w = hostTensor(new Float32Array(256 * 256).fill(0.001), { shape: [256, 256] });
    using s = await compile(
      graph(({ input, weight }) => {
        let x = input("x", "f32", ["m", 256]);
        for (let i = 0; i < 60; i++) x = relu(matmul(x, weight(w)));
        return { y: x };
      }),
      { device: device() },
    );
    const x = new Float32Array(256 * 256).fill(0.01);
    const controller = new AbortController();
    const aborted = s.run({ x }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    await expect(s.run({ x }, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: "AbortError" });
    const y = await s.run({ x: x.subarray(0, 256) });
    expect(y["y"].shape).toEqual([1, 256]);
  });

  test("explains its steps, with times when asked", async () => {
    using s = await doubled();
    await s.run({ x: Float32Array.of(1, 2, 3) }, { profile: true });
    const rows = s.explain();
    expect(rows.map((r) => r.op)).toEqual(["add"]);
    expect(rows[0].outputs).toEqual(["f32[1,3]"]);
    expect(rows[0].ms).toBeGreaterThanOrEqual(0);
  });

  test("is gone after dispose", async () => {
    const s = await doubled();
    await s.run({ x: Float32Array.of(1, 2, 3) });
    s.dispose();
    s.dispose();
    await expect(s.run({ x: Float32Array.of(1, 2, 3) })).rejects.toThrow(DisposedError);
    expect(() => s.runSync({ x: Float32Array.of(1, 2, 3) })).toThrow(DisposedError);
  });

  test("a run that is under way when its session ends is an error, and takes no memory", async () => {
    const s = await compile(
      graph(({ input }) => {
        const x = input("x", "f32", [700, 700]);
        const y = matmul(matmul(x, x), matmul(x, add(x, x)));
        return { y: add(nonZero(y), nonZero(y)) };
      }),
      { device: device() },
    );
    const { signal } = new AbortController();
    const run = s.run({ x: new Float32Array(700 * 700) }, { signal });
    s.dispose();
    const { bytes } = s;
    await expect(run).rejects.toThrow(DisposedError);
    expect(s.bytes).toBe(bytes);
  });

  test("shapes that depend on data: planning goes on when they are known", async () => {
    using s = await compile(
      graph(({ input, weight }) => {
        const at = nonZero(input("x", "f32", [4]));
        const n = concat(weight(hostTensor(BigInt64Array.of(1n))), weight(hostTensor(BigInt64Array.of(-1n))), {
          axis: 0,
        });
        return { y: reshape(add(at, at), n, {}) };
      }),
      { device: device() },
    );
    for (const x of [
      [0, 1, 0, 2],
      [1, 1, 1, 1],
      [0, 0, 0, 0],
      [0, 3, 0, 4],
    ]) {
      const want = x.flatMap((v, i) => (v ? [BigInt(2 * i)] : []));
      const { y } = await s.run({ x: Float32Array.from(x) });
      expect(y.shape).toEqual([1, want.length]);
      expect(Array.from(y.data as BigInt64Array)).toEqual(want);
    }
  });

  test("gives the outputs that are asked for, of whatever part of the graph", async () => {
    using s = await compile(
      graph(({ input }) => {
        const x = input("x", "f32", ["n"]);
        const twice = add(x, x);
        const at = nonZero(twice);
        return { twice, at, both: add(at, at), same: twice, x };
      }),
      { device: device() },
    );
    const x = Float32Array.of(0, 3, 0, 4);
    const all = await s.run({ x });
    expect(Object.keys(all)).toEqual(["twice", "at", "both", "same", "x"]);
    for (const outputs of [["both"], ["x", "twice"], ["same"], ["at", "both"], []])
      for (let again = 0; again < 2; again++) {
        const want = Object.fromEntries(outputs.map((name) => [name, all[name]]));
        expect(await s.run({ x }, { outputs })).toEqual(want);
        expect(s.runSync({ x }, { outputs })).toEqual(want);
      }
    // One plan, which is run without the graph around it.
    using plain = await doubled();
    for (const outputs of [["y"], ["rows"], ["rows", "y"], undefined, ["y"]]) {
      const some = await plain.run({ x: Float32Array.of(1, 2, 3) }, { outputs });
      expect(Object.keys(some).sort()).toEqual([...(outputs ?? ["rows", "y"])].sort());
      if (some["y"]) expect(some["y"].data).toEqual(Float32Array.of(2, 4, 6));
    }
    await expect(s.run({ x }, { outputs: ["twise"] })).rejects.toThrow(
      new InputError('run: outputs: the model has no output "twise"; it has "twice", "at", "both", "same", "x"'),
    );
    for (const outputs of ["twice", null, 1])
      expect(() => s.runSync({ x }, { outputs } as never)).toThrow("run: outputs takes an array of outputs' names");
  });

  test("a shape computed from an input's value", async () => {
    using s = await compile(
      graph(({ input }) => ({ y: reshape(input("x", "f32", [6]), input("to", "i64", [2]), {}) })),
      { device: device() },
    );
    const x = Float32Array.of(1, 2, 3, 4, 5, 6);
    expect((await s.run({ x, to: BigInt64Array.of(2n, 3n) }))["y"].shape).toEqual([2, 3]);
    expect((await s.run({ x, to: BigInt64Array.of(-1n, 1n) }))["y"].shape).toEqual([6, 1]);
    await expect(s.run({ x, to: BigInt64Array.of(4n, 4n) })).rejects.toThrow(ShapeError);
  });
});

describe("lazy tensors", () => {
  test("compute what was recorded", async () => {
    using a = tensor([
      [1, 2],
      [3, 4],
    ]);
    const y = softmax(matmul(a, a), { axis: -1 });
    expect(y.shape).toEqual([2, 2]);
    const values = (await y.data()) as Float32Array;
    expect(values[0]).toBeCloseTo(1 / (1 + Math.exp(3)), 6);
    expect(await y.data()).toBe(values);
  });

  test("check shapes at once", () => {
    expect(() => matmul(tensor([[1, 2, 3]]), tensor([[1, 2]]))).toThrow(
      /matmul: inner dimensions differ: f32\[1,3\] and f32\[1,2\]/,
    );
    expect(() => tensor([[1, 2], [3]])).toThrow(ShapeError);
  });

  test("a long chain does not overflow the stack", async () => {
    let x = tensor([1]);
    const one = tensor([1]);
    for (let i = 0; i < 20_000; i++) x = add(x, one);
    expect(((await x.data()) as Float32Array)[0]).toBe(20_001);
  }, 60_000);

  test("a disposed tensor says so", async () => {
    const a = tensor([1, 2]);
    const b = mul(a, a);
    a.dispose();
    expect(() => mul(a, a)).toThrow(DisposedError);
    await expect(a.data()).rejects.toThrow(DisposedError);
    await expect(b.data()).rejects.toThrow(DisposedError);
  });

  test("tensors of two devices do not mix", () => {
    expect(() => add(tensor([1]), tensor([1], { device: cpu() }))).toThrow(/different devices/);
  });
});

describe("what is written wrongly", () => {
  const written = (define: unknown, options?: unknown) => () => graph(define as never, options as never);
  const x = (...args: unknown[]) =>
    written(({ input }: { input: (...a: unknown[]) => SymbolicValue }) => ({ y: relu(input(...args)) }));

  test.each([
    ["no function", written({}), InputError, "graph: takes a function"],
    ["nothing returned", written(() => undefined), InputError, "graph: the function returns values by name"],
    ["no outputs", written(() => ({})), InputError, "graph: the function returns values by name"],
    ["a promise", written(async () => ({})), InputError, "it is not async"],
    ["a number", written(() => ({ y: 5 })), InputError, 'graph: output "y" is not a value of this graph'],
    ["null", written(() => ({ y: null })), InputError, 'graph: output "y" is not a value of this graph'],
    ["a tensor", written(() => ({ y: tensor([1]) })), InputError, 'graph: output "y" is not a value of this graph'],
    ["a dtype of others", x("x", "float32", [1]), DTypeError, 'graph: input "x": unknown dtype "float32"'],
    ["no dtype", x("x"), DTypeError, 'graph: input "x": unknown dtype undefined'],
    ["shape and dtype", x("x", [1], "f32"), DTypeError, 'graph: input "x": unknown dtype [1]'],
    ["a free dimension", x("x", "f32", [-1, 2]), ShapeError, 'names of free dimensions, as ["batch", 4]; got [-1,2]'],
    ["no dimension", x("x", "f32", [null, 2]), ShapeError, "got [null,2]"],
    ["a number as shape", x("x", "f32", 3), ShapeError, "got 3"],
    ["no name", x({ name: "x" }), InputError, "graph: an input has a name"],
    ["no options", written(() => ({}), "net"), InputError, "graph: options are an object"],
  ])("a graph: %s", (_, define, type, message) => {
    expect(define).toThrow(type);
    expect(define).toThrow(message);
  });

  test("a value of one graph in another", () => {
    let own: SymbolicValue | undefined;
    graph(({ input }) => {
      own = relu(input("x", "f32", [1]));
      return { y: own };
    });
    expect(() => graph(() => ({ y: own! }))).toThrow('graph: output "y" is not a value of this graph');
  });

  test("weights, states and dtypes", () => {
    for (const wrong of [null, undefined, 5])
      expect(written(({ weight }: GraphDefinition) => ({ y: weight(wrong as never) }))).toThrow(
        "weight: takes a tensor",
      );
    expect(written(({ state }: GraphDefinition) => ({ y: state("s", "f32", [-1]) }))).toThrow(
      'graph: state "s": shape must be an array of whole numbers',
    );
  });

  test("tensors on what is no device", () => {
    for (const device of ["cpu", null, Promise.resolve(cpu())])
      expect(() => tensor([1], { device: device as never })).toThrow("tensor: device takes a backend");
    expect(() => tensor([1, 2], [2] as never)).toThrow(
      "tensor: options are an object. There are: dtype, shape, device",
    );
  });

  test.each(Object.entries(devices))("arrays that are written into while runs wait, on %s", async (_, device) => {
    const net = graph(({ input }) => ({ y: add(input("x", "f32", [2]), input("z", "f32", [2])) }));
    using session = await compile(net, { device: device() });
    const [x, z] = [new Float32Array(2), new Float32Array(2)];
    const { signal } = new AbortController();
    const runs = [1, 2, 3, 4].map((n) => session.run({ x: x.fill(n), z: z.fill(10 * n) }, { signal }));
    x.fill(99);
    const sums = (await Promise.all(runs)).map(({ y }) => [...(y.data as Float32Array)]);
    expect(sums).toEqual([1, 2, 3, 4].map((n) => [11 * n, 11 * n]));
  });

  test("arrays that are written into while lazy tensors are computed, of tensors and in sequences", async () => {
    const inputs = ["x", "z"].map((name) => ({ name, dtype: "f32" as const, shape: ["n"] }));
    const nodes = [
      node("Add", ["x", "z"], ["sum"]),
      node("SequenceInsert", ["s", "sum"], ["all"]),
      node("ConcatFromSequence", ["all"], ["y"], { axis: { int: 0 } }),
    ];
    const model = encodeModel({ nodes, inputs: [...inputs, { name: "s" }], outputs: [{ name: "y" }] });
    using session = await load(model, { device: cpu() });
    const [x, z, s] = [new Float32Array(1), new Float32Array(1), new Float32Array(1)];
    // One that is computed, one that is known, and one run that waits for another.
    const runs = [relu(tensor([1])), tensor(x), tensor(x)].map((lazy) => {
      for (const [data, v] of [
        [x, 1],
        [z, 10],
        [s, 5],
      ] as const)
        data.fill(v);
      return session.run({ x: lazy, z, s: [{ dtype: "f32", shape: [1], data: s }] });
    });
    for (const data of [x, z, s]) data.fill(0);
    for (const run of runs) expect([...(await run)["y"].data]).toEqual([5, 11]);
    await expect(session.run({ x: relu(tensor([1])), z: "a" as never, s: [] })).rejects.toThrow(
      'input "z" takes a tensor',
    );
  });

  test("options of a run", async () => {
    const net = graph(({ input }) => ({ y: relu(input("x", "f32", [1])) }));
    using session = await compile(net, { device: cpu() });
    const x = Float32Array.of(2);
    for (const signal of [1, "a", {}, new AbortController()])
      await expect(session.run({ x }, { signal } as never)).rejects.toThrow(/signal takes an AbortSignal/);
    await expect(session.run({ x }, { keepOnDevce: true } as never)).rejects.toThrow(
      new InputError(
        'run: unknown option "keepOnDevce"; did you mean "keepOnDevice"? There are: signal, profile, state, rows, keepOnDevice, outputs',
      ),
    );
    for (const wrong of [null, "profile", [1]])
      await expect(session.run({ x }, wrong as never)).rejects.toThrow("run: options are an object");
    expect((await session.run({ x }, { other: undefined } as never))["y"].data).toEqual(x);
  });

  test.each(Object.entries(devices))("truth values that are no 0 and 1, on %s", async (_, device) => {
    const net = graph(({ input }) => {
      const [a, b] = [input("a", "bool", [4]), input("b", "bool", [4])];
      const c = cast(a, { to: "f32" });
      return { and: and(a, b), or: or(a, b), xor: xor(a, b), same: equal(a, b), number: c, itself: identity(a) };
    });
    using session = await compile(net, { device: device() });
    const [a, b] = [Uint8Array.of(2, 3, 1, 0), Uint8Array.of(1, 2, 0, 255)];
    const got = await session.run({ a, b });
    const lists = Object.fromEntries(Object.entries(got).map(([name, t]) => [name, [...(t.data as Uint8Array)]]));
    expect(lists).toEqual({
      and: [1, 1, 0, 0],
      or: [1, 1, 1, 1],
      xor: [0, 0, 1, 1],
      same: [1, 1, 0, 0],
      number: [1, 1, 1, 0],
      itself: [1, 1, 1, 0],
    });
    expect([...a, ...b]).toEqual([2, 3, 1, 0, 1, 2, 0, 255]);
  });

  test("what is no graph, and outputs to keep that are none", async () => {
    const net = graph(({ input }) => ({ y: relu(input("x", "f32", [1])) }));
    for (const wrong of [null, {}, () => net, new Uint8Array(4)])
      await expect(compile(wrong as never, { device: cpu() })).rejects.toThrow("compile: takes a graph");
    using session = await compile(net, { device: cpu() });
    await expect(session.run({ x: new Float32Array(1) }, { keepOnDevice: "y" as never })).rejects.toThrow(
      "run: keepOnDevice takes true, or an array of outputs' names",
    );
    const bigint = { dtype: "f32", shape: [1n], data: new Float32Array(1) };
    await expect(session.run({ x: bigint as never })).rejects.toThrow('whole numbers >= 0, got ["1n"]');
  });
});

test.each([
  ["input", "__proto__", "y"],
  ["output", "x", "__proto__"],
])("an %s that no object of values can have is refused", async (_, x, y) => {
  const odd = graph(({ input }) => ({ [y]: relu(input(x, "f32", [1])) }));
  await expect(compile(odd, { device: cpu() })).rejects.toThrow(/cannot be called "__proto__"/);
  // Names of what every object inherits are names like others.
  const other = graph(({ input }) => ({ toString: relu(input("constructor", "f32", [1])) }) as never);
  using session = await compile(other, { device: cpu() });
  const results = await session.run({ constructor: Float32Array.of(2) } as never);
  expect(results).toEqual({ toString: { dtype: "f32", shape: [1], data: Float32Array.of(2) } });
});

test.each(Object.entries(devices))("unoptimised on %s, a graph runs as it was written", async (_, device) => {
  const g = graph(({ input, weight }) => {
    const product = matmul(
      input("x", "f32", ["n", 2]),
      weight(
        hostTensor([
          [1, 2],
          [3, 4],
        ]),
      ),
    );
    return { y: relu(cast(add(product, weight(hostTensor([1, -20]))), { to: "f32" })) };
  });
  const ran = async (optimize: boolean): Promise<string[]> => {
    using s = await compile(g, { device: device(), optimize });
    expect((await s.run({ x: Float32Array.of(1, 2) }))["y"].data).toEqual(Float32Array.of(8, 0));
    expect(planInputs(s, { x: [1, 2] }).plan.steps.map((p) => p.op.name)).toEqual(s.explain().map((p) => p.op));
    return s.explain().map((p) => p.op);
  };
  expect(await ran(true)).toEqual(["matmul"]);
  expect(await ran(false)).toEqual(["matmul", "add", "cast", "relu"]);
});

test("unoptimised, a loop's body runs as it was written", async () => {
  const body = {
    nodes: [node("Identity", ["c"], ["go"]), node("Sigmoid", ["v"], ["s"]), node("Mul", ["v", "s"], ["next"])],
    inputs: [
      { name: "i", dtype: "i64" as const },
      { name: "c", dtype: "bool" as const },
      { name: "v", dtype: "f32" as const },
    ],
    outputs: [{ name: "go" }, { name: "next" }],
  };
  const model = encodeModel({
    nodes: [node("Loop", ["m", "", "x"], ["y"], { body: { graph: body } })],
    initializers: { m: hostTensor([2n]) },
    inputs: [{ name: "x", dtype: "f32", shape: [2] }],
    outputs: [{ name: "y" }],
  });
  const ran = async (optimize: boolean): Promise<string[]> => {
    using s = await load(model, { device: "cpu", optimize });
    await s.run({ x: Float32Array.of(1, 2) });
    return s.explain().map((p) => p.op);
  };
  expect(await ran(true)).toEqual(["silu"]);
  expect(await ran(false)).toEqual(["sigmoid", "mul"]);
});

test("other tasks get a turn where timers are all there is", async () => {
  for (const name of ["setImmediate", "MessageChannel"]) vi.stubGlobal(name, undefined);
  try {
    let other = false;
    setTimeout(() => {
      other = true;
    });
    await nextTurn();
    expect(other).toBe(true);
  } finally {
    vi.unstubAllGlobals();
  }
});
