import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { encode, instructionOf } from "../../src/backends/wasm/assembler/expr.ts";
import { instructionRows, namesOf } from "../../src/backends/wasm/assembler/opcodes.ts";
import { Writer } from "../../src/backends/wasm/assembler/writer.ts";
import {
  call,
  type Expr,
  f32,
  f32x4,
  f64,
  i8x16,
  i16x8,
  i32,
  i32x4,
  i64,
  type Local,
  ModuleBuilder,
  memory,
  select,
  symbolicAddress,
  type ValueType,
  v128,
} from "../../src/backends/wasm/assembler.ts";
import { wasmFeatures } from "../../src/backends/wasm/features.ts";

const features = wasmFeatures();

type Exports = Record<string, (...args: (number | bigint)[]) => number>;
function link(m: ModuleBuilder, imports: WebAssembly.Imports = {}): Exports & { memory: WebAssembly.Memory } {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(m.toBytes()), imports);
  return instance.exports as unknown as Exports & { memory: WebAssembly.Memory };
}

/** Runs one expression of 16-byte inputs, and returns the 16 result bytes. */
function runVector(inputs: ArrayBufferView[], build: (...x: Local<"v128">[]) => Expr<"v128">): ArrayBuffer {
  const m = new ModuleBuilder();
  m.memory({ min: 1, export: "memory" });
  m.func({ name: "f", params: {}, export: true }, (f) => {
    const locals = inputs.map((_, i) => f.let(v128.load(16 * (i + 1))));
    f.v128.store(0, build(...locals));
  });
  const { f, memory } = link(m);
  inputs.forEach((x, i) => {
    new Uint8Array(memory.buffer).set(new Uint8Array(x.buffer, x.byteOffset, 16), 16 * (i + 1));
  });
  f();
  return memory.buffer.slice(0, 16);
}

/** Runs one scalar expression of scalar parameters. */
function runScalar<T extends ValueType, R extends ValueType>(type: T, result: R, build: (...x: Expr<T>[]) => Expr<R>) {
  const m = new ModuleBuilder();
  m.func({ name: "f", params: { a: type, b: type }, result, export: true }, (f, { a, b }) => f.return(build(a, b)));
  return link(m).f;
}

describe("LEB128", () => {
  const write = (use: (w: Writer) => void) => {
    const w = new Writer();
    use(w);
    return [...w.toBytes()];
  };
  const decode = (bytes: number[], signed: boolean) => {
    const value = bytes.reduce((sum, byte, i) => sum | (BigInt(byte & 0x7f) << BigInt(7 * i)), 0n);
    return signed ? BigInt.asIntN(7 * bytes.length, value) : value;
  };
  const wellFormed = (bytes: number[]) => bytes.every((byte, i) => byte >= 0x80 === i < bytes.length - 1);

  it("writes unsigned numbers that decode to themselves", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (x) => {
        const bytes = write((w) => w.u32(x));
        expect(decode(bytes, false)).toBe(BigInt(x));
        expect(wellFormed(bytes) && bytes.length <= 5).toBe(true);
      }),
    );
  });
  it("writes signed numbers that decode to themselves, in the shortest form", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.nat(63), (x, shift) => {
        const value = x >> BigInt(shift);
        const bytes = write((w) => w.s64(value));
        expect(decode(bytes, true)).toBe(value);
        expect(wellFormed(bytes)).toBe(true);
        if (bytes.length > 1) expect(BigInt.asIntN(7 * (bytes.length - 1), value)).not.toBe(value);
      }),
    );
  });
  it("reads i32 constants back from the machine", () => {
    fc.assert(
      fc.property(fc.integer(), (x) => {
        expect(runScalar("i32", "i32", () => i32.const(x))(0, 0)).toBe(x);
        expect(runScalar("i32", "i32", () => i32.const(x >>> 0))(0, 0)).toBe(x);
      }),
    );
    expect(runScalar("i64", "i64", () => i64.const(-(2n ** 63n)))(0n, 0n)).toBe(-(2n ** 63n));
  });
  it("refuses what does not fit", () => {
    expect(() => write((w) => w.u32(-1))).toThrow(RangeError);
    expect(() => write((w) => w.u32(1.5))).toThrow(RangeError);
    expect(() => write((w) => w.s32(2 ** 32))).toThrow(RangeError);
  });
});

describe("instruction table", () => {
  const isRelaxed = (name: string) => name.includes("relaxed_");
  const isAtomic = (name: string) => name.includes("atomic");

  const names = instructionRows.flatMap(([, , row]) => namesOf(row)).filter((name) => name !== "_");

  it("has each name and opcode once", () => {
    expect(new Set(names).size).toBe(names.length);
    expect(new Set(names.map((name) => instructionOf(name)!.opcode.join())).size).toBe(names.length);
  });

  for (const name of names) {
    const instruction = instructionOf(name)!;
    const { inputs, result } = instruction;
    if ((isRelaxed(name) && !features.relaxedSimd) || (isAtomic(name) && !features.threads)) continue;
    it(`${name} validates with its signature`, () => {
      const m = new ModuleBuilder();
      m.memory({ min: 1, max: 1, shared: isAtomic(name) });
      const types = inputs
        .filter((input) => !["zero", "lane", "bytes"].includes(input))
        .map((input) => (input === "addr" ? "i32" : input) as ValueType);
      const params = Object.fromEntries(types.map((type, i) => [`p${i}`, type]));
      m.func({ name: "f", params, result: result === "void" ? undefined : result }, (f, locals) => {
        const rest = Object.values(locals);
        const args: Parameters<typeof encode>[1][number][] = inputs
          .filter((input) => input !== "zero")
          .map((input) => (input === "lane" ? 1 : input === "bytes" ? new Uint8Array(16) : rest.shift()));
        if (inputs[0] === "addr") args.push(300);
        const emit = (code: Writer) => encode(instruction, args, code);
        if (result === "void") f.emit({ emit });
        else f.return({ type: result, emit });
      });
      // The constructor, unlike validate, says what is wrong.
      expect(() => new WebAssembly.Module(m.toBytes())).not.toThrow();
    });
  }
});

describe("module and functions", () => {
  it("imports, calls and recursion", () => {
    const m = new ModuleBuilder();
    const log = m.importFunction("env", { name: "log", params: { x: "f64" } });
    m.memory({ min: 1 });
    const fac = m.func({ name: "fac", params: { n: "f64" }, result: "f64" }, (f, { n }, self) => {
      f.if(f64.le(n, 1), () => f.return(1));
      f.return(f64.mul(n, call(self, { n: f64.sub(n, 1) })));
    });
    m.func({ name: "main", params: { n: "f64" }, export: true }, (f, { n }) => f.call(log, { x: call(fac, { n }) }));
    const seen: number[] = [];
    const exports = link(m, { env: { log: (x: number) => seen.push(x) } });
    exports.main(10);
    expect(seen).toEqual([3628800]);
    expect(() => m.importFunction("env", { name: "late", params: {} })).toThrow("import functions before");
  });

  it("shares an imported memory", () => {
    const m = new ModuleBuilder();
    m.importMemory("env", "memory", { min: 1, max: 4, shared: true });
    m.func({ name: "inc", params: { p: "i32" }, result: "i32", export: true }, (f, { p }) => {
      f.return(i32["atomic.rmw.add"](p, 5, 8));
    });
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true });
    const { inc } = link(m, { env: { memory } });
    expect([inc(0), inc(0), new Int32Array(memory.buffer)[2]]).toEqual([0, 5, 10]);
    expect(() => {
      const bad = new ModuleBuilder();
      bad.memory({ min: 1, shared: true });
      bad.toBytes();
    }).toThrow("maximum");
  });

  it("stores equal function types once", () => {
    const count = (extra: boolean) => {
      const m = new ModuleBuilder();
      m.func({ name: "a", params: { x: "i32" } }, () => {});
      if (extra) m.func({ name: "b", params: { y: "i32" } }, () => {});
      return m.toBytes()[10]; // entries of the type section
    };
    expect([count(false), count(true)]).toEqual([1, 1]);
  });

  it("loops, branches and selects", () => {
    const m = new ModuleBuilder();
    m.func({ name: "f", params: { n: "i32", stop: "i32" }, result: "i32", export: true }, (f, { n, stop }) => {
      const i = f.local("i32");
      const sum = f.local("i32");
      f.block((exit) => {
        f.forRange(i, 0, n, 1, () => {
          f.if(
            i32.rem_s(i, 2),
            () => f.increment(sum, i),
            () => f.brIf(exit, i32.eq(i, stop)),
          );
        });
      });
      f.return(select(sum, i32.const(-1), i32.gt_s(n, 0)));
    });
    const { f } = link(m);
    expect([f(10, 100), f(10, 4), f(0, 0), f(-3, 0)]).toEqual([25, 4, -1, -1]);
  });

  it("computes hoisted constants once, before the loop that uses them", () => {
    const m = new ModuleBuilder();
    m.memory({ min: 1 });
    const next = m.func({ name: "next", params: {}, result: "i32" }, (f) => {
      f.i32.store(0, i32.add(i32.load(0), 1));
      f.return(i32.load(0));
    });
    m.func({ name: "f", params: { n: "i32" }, result: "i32", export: true }, (f, { n }) => {
      const i = f.local("i32");
      const sum = f.local("i32");
      f.forRange(i, 0, n, 1, () => f.increment(sum, i32.add(f.hoist(call(next, {})), f.hoist(call(next, {})))));
      f.return(sum);
    });
    const { f } = link(m);
    // Five turns, each of which adds the first call's 1 twice.
    expect(f(5)).toEqual(10);
  });

  it("takes symbolic addresses, with offsets, from parameters", () => {
    const m = new ModuleBuilder();
    m.memory({ min: 1 });
    const [first, second] = [symbolicAddress(0), symbolicAddress(1)];
    const params = { n: "i32", a: "i32", b: "i32" } as const;
    m.func({ name: "f", params, result: "i32", export: true }, (f, { n }) => {
      f.addressesFrom(1);
      f.i32.store(second - 8, i32.add(first + 100, n), 8);
      f.return(i32.add(f.hoist(i32.load(second)), i32.load(i32.add(second, n), 4)));
    });
    const { f } = link(m);
    expect(f(-4, 1000, 64)).toBe(1096);
    expect(f(-4, 2000, 64)).toBe(1096 + 2096);
    const other = { name: "g", params, export: true };
    expect(() => m.func(other, (g) => g.drop(i32.load(first)))).toThrow("an address of another function");
  });

  it("makes functions within functions, and others after them", () => {
    const m = new ModuleBuilder();
    const inner = (name: string, by: number) =>
      m.func({ name, params: { x: "i32" }, result: "i32" }, (g, { x }) => g.return(i32.mul(x, g.hoist(i32.const(by)))));
    m.func({ name: "f", params: { x: "i32" }, result: "i32", export: true }, (f, { x }) => {
      const y = f.let(i32.add(x, f.hoist(i32.const(100))));
      f.set(y, call(inner("by 7", 7), { x: y }));
      f.return(i32.add(call(inner("by -3", -3), { x: y }), f.hoist(i32.const(100))));
    });
    m.func({ name: "g", params: {}, result: "i32", export: true }, (g) => g.return(5));
    const { f, g } = link(m);
    expect(f(1)).toBe(101 * 7 * -3 + 100);
    expect(g()).toBe(5);
  });

  it("rejects operands of the wrong type when it builds", () => {
    const wrong = f32.const(1) as unknown as Expr<"i32">;
    new ModuleBuilder().func({ name: "f", params: {} }, (f) => {
      expect(() => f.drop(i32.add(wrong, 1))).toThrow("expected i32, got f32");
      expect(() => f.drop(i32.add(1n as unknown as number, 1))).toThrow("expected i32, got bigint");
      expect(() => f.drop(v128.const([1, 2]))).toThrow("16 bytes");
    });
  });
});

describe("scalar semantics", () => {
  const anyFloat = fc.float({ noDefaultInfinity: false });
  it("i32", () => {
    const add = runScalar("i32", "i32", i32.add);
    const mul = runScalar("i32", "i32", i32.mul);
    const shr = runScalar("i32", "i32", i32.shr_u);
    const lt = runScalar("i32", "i32", i32.lt_u);
    fc.assert(
      fc.property(fc.integer(), fc.integer(), (a, b) => {
        expect(add(a, b)).toBe((a + b) | 0);
        expect(mul(a, b)).toBe(Math.imul(a, b));
        expect(shr(a, b)).toBe((a >>> (b & 31)) | 0);
        expect(lt(a, b)).toBe(Number(a >>> 0 < b >>> 0));
      }),
    );
  });
  it("f32", () => {
    const div = runScalar("f32", "f32", f32.div);
    const min = runScalar("f32", "f32", f32.min);
    const le = runScalar("f32", "i32", f32.le);
    const toInt = runScalar("f32", "i32", (a) => i32.trunc_sat_f32_s(a));
    fc.assert(
      fc.property(anyFloat, anyFloat, (a, b) => {
        expect(div(a, b)).toBe(Math.fround(a / b));
        expect(min(a, b)).toBe(Math.min(a, b));
        expect(le(a, b)).toBe(Number(a <= b));
        const clamped = Math.min(Math.max(Math.trunc(a), -(2 ** 31)), 2 ** 31 - 1);
        expect(toInt(a, 0)).toBe(Number.isNaN(a) ? 0 : clamped + 0);
      }),
    );
  });
  it("i64 and conversions", () => {
    const mul = runScalar("i64", "i64", i64.mul);
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt(), (a, b) => {
        expect(mul(a, b)).toBe(BigInt.asIntN(64, a * b));
      }),
    );
    expect(runScalar("f64", "f64", f64.nearest)(2.5, 0)).toBe(2);
    expect(runScalar("f32", "i32", (a) => i32.reinterpret_f32(a))(-0, 0)).toBe(-(2 ** 31));
    expect(runScalar("i32", "i32", (a) => i32.extend8_s(a))(0xff, 0)).toBe(-1);
  });
  it("memory", () => {
    const m = new ModuleBuilder();
    m.memory({ min: 1, max: 2, export: "memory" });
    m.func({ name: "f", params: {}, result: "i32", export: true }, (f) => {
      f.i32.store8(3, 0x1ff);
      f.i64.store(8, -2n);
      f.f32.store(16, 1.5);
      f.f64.store(16, -0.25, 8);
      f.memory.copy(32, 0, 32);
      f.memory.fill(64, 7, 5);
      f.drop(memory.grow(1));
      f.return(i32.add(i32.load16_s(2), memory.size()));
    });
    const { f, memory: own } = link(m);
    expect(f()).toBe(-256 + 2);
    const at32 = new DataView(own.buffer, 32);
    expect(at32.getUint8(3)).toBe(0xff);
    expect(at32.getBigInt64(8, true)).toBe(-2n);
    expect([at32.getFloat32(16, true), at32.getFloat64(24, true)]).toEqual([1.5, -0.25]);
    expect([...new Uint8Array(own.buffer, 63, 7)]).toEqual([0xbf, 7, 7, 7, 7, 7, 0]);
  });
});

describe("vector semantics", () => {
  const lanes = fc.float32Array({ minLength: 4, maxLength: 4 });
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const words = fc.int16Array({ minLength: 8, maxLength: 8 });

  it("f32x4 arithmetic, with NaN, zeros and infinities", () => {
    fc.assert(
      fc.property(lanes, lanes, (a, b) => {
        const got = (build: (x: Expr<"v128">, y: Expr<"v128">) => Expr<"v128">) =>
          new Float32Array(runVector([a, b], build));
        const want = (f: (x: number, y: number) => number) => a.map((x, i) => f(x, b[i]));
        expect(got(f32x4.add)).toEqual(want((x, y) => x + y));
        expect(got(f32x4.mul)).toEqual(want((x, y) => x * y));
        expect(got(f32x4.max)).toEqual(want(Math.max));
        // Differs from Math.min for NaN and signed zeros
        expect(got(f32x4.pmin)).toEqual(want((x, y) => (y < x ? y : x)));
      }),
      { numRuns: 50 },
    );
  });
  it("integer lanes", () => {
    fc.assert(
      fc.property(words, words, (a, b) => {
        const dot = new Int32Array(runVector([a, b], i32x4.dot_i16x8_s));
        const want = Int32Array.from({ length: 4 }, (_, i) => a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1]);
        expect(dot).toEqual(want);
        const low = new Int16Array(runVector([a], (x) => i16x8.extend_low_i8x16_s(x)));
        expect(low).toEqual(Int16Array.from(new Int8Array(a.buffer).slice(0, 8)));
        expect(new Int16Array(runVector([a], (x) => i16x8.shl(x, 3)))).toEqual(a.map((x) => x << 3));
      }),
      { numRuns: 50 },
    );
  });
  it("shuffles, selects and lane access", () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, (a, b, mask) => {
        const order = mask.map((x) => x % 32);
        const both = [...a, ...b];
        expect([...new Uint8Array(runVector([a, b], (x, y) => i8x16.shuffle(x, y, order)))]).toEqual(
          [...order].map((i) => both[i]),
        );
        expect(new Uint8Array(runVector([a, b, mask], v128.bitselect))).toEqual(
          a.map((x, i) => (x & mask[i]) | (b[i] & ~mask[i])),
        );
        const replaced = runVector([a], (x) => f32x4.replace_lane(x, 2, f32x4.extract_lane(f32x4.splat(9), 3)));
        expect(new Float32Array(replaced)[2]).toBe(9);
        expect(new Uint8Array(runVector([], () => v128.const(a)))).toEqual(a);
      }),
      { numRuns: 50 },
    );
  });
  it("loads and stores part of a vector", () => {
    const m = new ModuleBuilder();
    m.memory({ min: 1, export: "memory" });
    m.func({ name: "f", params: { p: "i32" }, export: true }, (f, { p }) => {
      f.v128.store(p, v128.load32_splat(p, 4), 16);
      f.v128.store(p, v128.load8x8_u(p), 32);
      f.v128.store(p, v128.load32_lane(p, v128.load64_zero(p), 3, 8), 48);
      f.v128.store16_lane(p, v128.load(p), 5, 64);
    });
    const { f, memory } = link(m);
    const u8 = new Uint8Array(memory.buffer);
    for (let i = 0; i < 16; i++) u8[100 + i] = 200 + i;
    f(100);
    const at = (offset: number, length = 16) => [...u8.slice(100 + offset, 100 + offset + length)].map((x) => x - 200);
    expect(at(16)).toEqual([4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7]);
    expect(at(32)).toEqual([0, -200, 1, -200, 2, -200, 3, -200, 4, -200, 5, -200, 6, -200, 7, -200]);
    expect(at(48)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, -200, -200, -200, -200, 8, 9, 10, 11]);
    expect(at(64, 4)).toEqual([10, 11, -200, -200]);
  });
  it.runIf(features.relaxedSimd)("relaxed multiply-add rounds once or twice", () => {
    fc.assert(
      fc.property(lanes, lanes, lanes, (a, b, c) => {
        const got = new Float32Array(runVector([a, b, c], f32x4.relaxed_madd));
        got.forEach((x, i) => {
          const twice = Math.fround(Math.fround(a[i] * b[i]) + c[i]);
          const once = Math.fround(a[i] * b[i] + c[i]); // up to double rounding
          expect(Object.is(x, twice) || Object.is(x, once) || Math.abs(x - once) <= Math.abs(once) * 2 ** -23).toBe(
            true,
          );
        });
      }),
      { numRuns: 50 },
    );
  });
});

describe("features", () => {
  it("probes once and takes overrides", () => {
    expect(features.simd).toBe(true);
    expect(wasmFeatures({ simd: false })).toEqual({ ...features, simd: false });
    expect(wasmFeatures()).toEqual(features);
  });

  it("are plain where relaxed SIMD is there in parts", () => {
    const { validate } = WebAssembly;
    // i32x4.relaxed_dot_i8x16_i7x16_add_s, which WebKitGTK has left out.
    const dotAdd = [0xfd, 0x93, 0x02];
    const hasDot = (bytes: Uint8Array) => bytes.some((_, i) => dotAdd.every((byte, k) => bytes[i + k] === byte));
    const seen: boolean[] = [];
    vi.spyOn(WebAssembly, "validate").mockImplementation((bytes) => {
      seen.push(hasDot(bytes as Uint8Array));
      return !seen.at(-1) && validate(bytes);
    });
    try {
      expect(wasmFeatures()).toMatchObject({ relaxedSimd: false, fma: 0 });
      expect(seen).toContain(true);
    } finally {
      vi.restoreAllMocks();
    }
  });

  it("throw nothing where WebAssembly may not be compiled", () => {
    vi.spyOn(WebAssembly, "Module").mockImplementation(() => {
      throw new WebAssembly.CompileError("disallowed by embedder");
    });
    try {
      expect(wasmFeatures({ relaxedSimd: true }).dotAdd).toBeUndefined();
    } finally {
      vi.restoreAllMocks();
    }
  });
});
