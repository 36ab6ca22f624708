/** Copies in and out of linear memory, by `set` and by what a Node offers. */
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { arrayLike, copyTo } from "../../src/backends/wasm/copy.ts";
import { type DType, dtypes, type TypedArray, viewOf } from "../../src/tensor/dtype.ts";

beforeEach(() => void vi.resetModules());
afterEach(() => void vi.restoreAllMocks());

const kinds = (Object.keys(dtypes) as DType[]).filter((d) => d !== "string");
const bits = (x: TypedArray): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/** Copies `n` elements in and out of memory and says whether all else stayed as it was. */
function goesThrough(copy: typeof copyTo, dtype: DType, n: number, shared: boolean): void {
  const size = dtypes[dtype].bytes;
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2, shared });
  new Uint8Array(memory.buffer).fill(7);
  const source = viewOf(
    dtype,
    Uint8Array.from({ length: (n + 2) * size }, (_, i) => i * 31 + (i >> 8)).buffer,
    size,
    n,
  );
  const inside = viewOf(dtype, memory.buffer, 64, n);
  copy(source, inside);
  expect(Buffer.compare(bits(inside), bits(source))).toBe(0);
  const outside = new Uint8Array(memory.buffer);
  expect([outside[63], outside[64 + n * size]]).toEqual([7, 7]);
  const back = viewOf(dtype, new ArrayBuffer(n * size), 0, n);
  copy(inside, back);
  expect(Buffer.compare(bits(back), bits(source))).toBe(0);
}

test("arrays of every kind and size", () => {
  const anyCopy = fc.record({ dtype: fc.constantFrom(...kinds), n: fc.nat(6000), shared: fc.boolean() });
  fc.assert(fc.property(anyCopy, ({ dtype, n, shared }) => goesThrough(copyTo, dtype, n, shared)));
});

test("results are arrays of their own, of the kind and length that was asked for", () => {
  const any = fc.record({ dtype: fc.constantFrom(...kinds), n: fc.constantFrom(0, 1, 3, 8191, 8192, 16_384, 70_001) });
  fc.assert(
    fc.property(any, ({ dtype, n }) => {
      const like = viewOf(dtype, new ArrayBuffer(n * dtypes[dtype].bytes), 0, n);
      const made = arrayLike(like);
      expect([made.constructor, made.length]).toEqual([like.constructor, n]);
      expect(made.buffer).not.toBe(arrayLike(like).buffer);
      expect([made.byteOffset, made.buffer.byteLength]).toEqual([0, like.byteLength]);
    }),
  );
});

/** What the module does with a Node whose buffers copy like this. */
async function withCopy(copy: (this: TypedArray, to: TypedArray) => unknown) {
  const spy = vi.spyOn(Buffer.prototype, "copy").mockImplementation(copy as never);
  const module = await import("../../src/backends/wasm/copy.ts");
  spy.mockClear();
  return { ...module, spy };
}

test("a copy of any views is used, from 4 kB on", async () => {
  const { copyTo, spy } = await withCopy(function (to) {
    bits(to).set(bits(this));
  });
  goesThrough(copyTo, "f32", 1023, true);
  expect(spy).not.toHaveBeenCalled();
  goesThrough(copyTo, "f32", 1024, true);
  goesThrough(copyTo, "i64", 700, false);
  expect(spy).toHaveBeenCalledTimes(4);
});

test.each([
  [
    "that takes bytes only",
    () => {
      throw new TypeError("source must be a Uint8Array");
    },
  ],
  [
    "that converts bytes to elements",
    function (this: TypedArray, to: TypedArray) {
      to.set(bits(this).subarray(0, to.length) as never);
    },
  ],
])("a copy %s is not", async (_, copy) => {
  const { copyTo, spy } = await withCopy(copy);
  goesThrough(copyTo, "f32", 5000, true);
  expect(spy).not.toHaveBeenCalled();
});
