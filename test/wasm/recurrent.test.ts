/** Long recurrences on the loop of kernels/recurrent-loop.ts: step by step, checked, and which forms it takes. */
import { describe, expect, test, vi } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { compile } from "../../src/graph/compile.ts";
import { graph } from "../../src/graph/define.ts";
import type { Session } from "../../src/graph/session.ts";
import { gru, lstm, rnn } from "../../src/ops/index.ts";
import type { AttrsOf } from "../../src/ops/op.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";
import { evaluateAll } from "../ops/evaluate.ts";

const devices: [string, () => Backend][] = [
  ["cpu", () => cpu() as Backend],
  ["wasm", () => wasm({ threads: 1 }) as Backend],
  ["wasm, baseline SIMD", () => wasm({ threads: 1, features: { relaxedSimd: false } }) as Backend],
];

const make = (seed: number, shape: number[], size = 1): HostTensor =>
  tensorFrom(seed, "f32", shape, { min: -size, max: size });

const furthest = (a: HostTensor, b: HostTensor): number =>
  toF64(a).reduce((most, v, i) => Math.max(most, Math.abs(v - toF64(b)[i])), 0);

describe("a GRU of 128 units with weights in [-1, 1]", () => {
  const [seq, input, n] = [100, 16, 128];
  const x = make(1, [seq, 1, input]);
  const weights = (size: number) => [make(2, [1, 3 * n, input], size), make(3, [1, 3 * n, n], size)];
  const bias = make(4, [1, 6 * n]);
  const nothing = make(5, [1, 1, n], 0);

  /**
   * An error of 1e-7 is one of 2 after 50 steps, in float64 and for every engine: the state's direction is lost. Trained
   * networks don't do that, as they would not have been trained; smaller weights don't either.
   */
  test.each([false, true])("is chaotic, linearBeforeReset %s", (linearBeforeReset) => {
    const apart = (size: number): number => {
      const [w, r] = weights(size);
      const nearby = make(6, [1, 1, n], 1e-7);
      const last = (h: HostTensor) => evaluateAll(gru, [x, w, r, bias, undefined, h], { linearBeforeReset })[1];
      return furthest(last(nothing), last(nearby));
    };
    expect(apart(1)).toBeGreaterThan(1);
    expect(apart(1 / Math.sqrt(n))).toBeLessThan(1e-7);
  });

  describe.each(devices)("is right at every step on %s", (_, device) => {
    test.each([false, true])("linearBeforeReset %s", async (linearBeforeReset) => {
      const [w, r] = weights(1);
      const step = graph(({ input: given, weight }) => {
        const attrs: AttrsOf<typeof gru> = { linearBeforeReset };
        const operands = [given("x", "f32", [1, 1, input]), weight(w), weight(r), weight(bias)] as const;
        return { h: gru(...operands, undefined, given("h", "f32", [1, 1, n]), attrs)[1] };
      });
      using session = await compile(step, { device: device() });
      let h = nothing;
      for (let t = 0; t < 60; t++) {
        const xt: HostTensor = {
          ...x,
          shape: [1, 1, input],
          data: (x.data as Float32Array).slice(t * input, (t + 1) * input),
        };
        const [, want] = evaluateAll(gru, [xt, w, r, bias, undefined, h], { linearBeforeReset });
        expect(furthest(session.runSync({ x: xt, h })["h"] as HostTensor, want)).toBeLessThan(1e-5);
        h = want;
      }
    });
  });
});

describe("which forms the loop takes", () => {
  const [seq, batch, input, n] = [3, 2, 4, 5];
  const x = make(1, [seq, batch, input]);
  const [w, r, bias] = [make(2, [1, 4 * n, input]), make(3, [1, 4 * n, n]), make(4, [1, 8 * n])];

  /** The kernel that runs, and its error where the session is verified. */
  async function planned(attrs: AttrsOf<typeof lstm>, constant = true, lengths?: "i32" | "i64") {
    const net = graph(({ input: given, weight }) => {
      const hold = (name: string, t: HostTensor) => (constant ? weight(t) : given(name, "f32", [...t.shape]));
      const ends = lengths && given("lengths", lengths, [batch]);
      const [y] = lstm(
        given("x", "f32", [seq, batch, input]),
        hold("w", w),
        hold("r", r),
        weight(bias),
        ends,
        undefined,
        undefined,
        undefined,
        attrs,
      );
      return { y };
    });
    const device = wasm({ threads: 1 });
    using session: Session = await compile(net, { device, verify: true });
    const ends = lengths && tensorFrom(7, lengths, [batch], { min: 1, max: seq });
    await session.run({ x, ...(constant ? {} : { w, r }), ...(ends ? { lengths: ends } : {}) });
    const [{ kernel, error }] = session.explain();
    return { kernel, error: error?.relative };
  }

  test("those with constant weights, and with activations that other operators have", async () => {
    const warnings = vi.spyOn(console, "warn").mockImplementation(() => {});
    const relu = { kind: "relu" } as const;
    for (const run of [
      planned({}),
      planned({ clip: 0.5, inputForget: true }, true, "i32"),
      planned({ activations: [relu, relu, relu] }),
    ]) {
      const { kernel, error } = await run;
      expect(kernel).toBe("wasm/lstm/loop");
      expect(error).toBeLessThan(1e-6);
    }
    expect(warnings).not.toHaveBeenCalled();
    warnings.mockRestore();
  });

  test("others run plain kernels, or the reference", async () => {
    expect((await planned({}, false)).kernel).toBe("cpu/lstm/batched");
    expect((await planned({ quantizeState: true })).kernel).toBe("cpu/lstm/batched");
    expect((await planned({}, true, "i64")).kernel).toBe("cpu/lstm/batched");
    const affine = { kind: "affine", alpha: 1, beta: 0 } as const;
    expect((await planned({ activations: [affine, affine, affine] })).kernel).toBe("reference/lstm");
  });

  test("a direction with activations of its own runs the reference", async () => {
    const [w2, r2] = [make(2, [2, n, input]), make(3, [2, n, n])];
    const activations = [{ kind: "tanh" }, { kind: "relu" }] as const;
    const net = graph(({ input: given, weight }) => {
      const [y] = rnn(given("x", "f32", [seq, batch, input]), weight(w2), weight(r2), undefined, undefined, undefined, {
        direction: "bidirectional",
        activations,
      });
      return { y };
    });
    using session = await compile(net, { device: wasm({ threads: 1 }) });
    await session.run({ x });
    expect(session.explain()[0].kernel).toBe("reference/rnn");
  });
});
