/** Places in memory: what the search for the lowest gap finds, and how long it looks. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { placeLinear, type Storage } from "../../src/graph/place.ts";

const alignUp = (bytes: number): number => Math.ceil(bytes / 64) * 64;

const storages = (lives: readonly (readonly [bytes: number, first: number, length: number])[]): Storage[] =>
  lives.map(([bytes, first, length], slot) => ({ bytes, first, last: first + length, offset: 0, slot }));

/** The lowest multiple of 64 at which a storage meets none of these that it lives with. */
function lowest(s: Storage, others: readonly Storage[]): number {
  const meets = (at: number): boolean =>
    others.some(
      (o) =>
        o.first <= s.last &&
        s.first <= o.last &&
        o.offset < at + alignUp(s.bytes) &&
        at < o.offset + alignUp(o.bytes) &&
        o.bytes > 0,
    );
  let at = 0;
  while (s.bytes > 0 && meets(at)) at += 64;
  return at;
}

test("each value is as low as those before it in order of size leave it", () => {
  const life = fc.tuple(fc.constantFrom(0, 12, 64, 65, 200, 300), fc.integer({ min: -1, max: 6 }), fc.nat(6));
  fc.assert(
    fc.property(fc.array(life, { maxLength: 24 }), (lives) => {
      const all = storages(lives);
      const total = placeLinear(all);
      const ordered = [...all].sort((a, b) => b.bytes - a.bytes || a.first - b.first || a.last - b.last);
      for (const [i, s] of ordered.entries()) expect(s.offset).toBe(lowest(s, ordered.slice(0, i)));
      expect(total).toBe(Math.max(0, ...all.map((s) => s.offset + alignUp(s.bytes))));
    }),
    { numRuns: 1000 },
  );
});

test("thousands of inputs do not look through one another", () => {
  const n = 2000;
  let looks = 0;
  const all = storages(Array.from({ length: n }, (_, i) => [12, -1, (i * 7) % n] as const));
  for (const s of all) {
    const { first } = s;
    Object.defineProperty(s, "first", {
      get() {
        looks++;
        return first;
      },
    });
  }
  expect(placeLinear(all)).toBe(n * 64);
  expect(looks).toBeLessThan(100 * n);
});
