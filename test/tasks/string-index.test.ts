import fc from "fast-check";
import { expect, test } from "vitest";
import { StringIndex } from "../../src/tasks/tokenizers/string-index.ts";

const short = fc.string({ unit: "grapheme", maxLength: 3 });

test("half of a pair is not U+FFFD", () => {
  const index = new StringIndex(["\ufffd", "\u{1f600}"], () => true);
  expect([index.get("\ud800"), index.get("\ufffd"), index.get("\u{1f600}")]).toEqual([undefined, 0, 1]);
});

test("finds what a map of the wanted strings does, of equal ones the first", () =>
  fc.assert(
    fc.property(fc.array(short), fc.array(short), fc.nat(3), (list, others, k) => {
      const wanted = (i: number): boolean => i % 4 !== k;
      const map = new Map<string, number>();
      list.forEach((s, i) => {
        if (wanted(i) && !map.has(s)) map.set(s, i);
      });
      const index = new StringIndex(list, wanted);
      // Longer than any before.
      expect(index.get("x".repeat(1000))).toBeUndefined();
      for (const s of [...list, ...others]) expect(index.get(s)).toBe(map.get(s));
    }),
  ));
