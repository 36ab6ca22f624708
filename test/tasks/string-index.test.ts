import fc from "fast-check";
import { expect, test } from "vitest";
import { StringIndex } from "../../src/tasks/tokenizers/string-index.ts";

test("finds what a map of the wanted strings does, of equal ones the first", () =>
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 3 })),
      fc.array(fc.string({ maxLength: 3 })),
      fc.nat(3),
      (list, others, k) => {
        const wanted = (i: number): boolean => i % 4 !== k;
        const map = new Map<string, number>();
        list.forEach((s, i) => {
          if (wanted(i) && !map.has(s)) map.set(s, i);
        });
        const index = new StringIndex(list, wanted);
        for (const s of [...list, ...others]) expect(index.get(s)).toBe(map.get(s));
      },
    ),
  ));
