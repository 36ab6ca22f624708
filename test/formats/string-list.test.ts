import fc from "fast-check";
import { expect, test } from "vitest";
import { StringList } from "../../src/formats/string-list.ts";

const strings = fc.array(fc.string({ unit: "grapheme", maxLength: 6 }));

test("gives back the strings that it was made of, and undefined beyond them", () =>
  fc.assert(
    fc.property(strings, (list) => {
      const packed = StringList.of(list);
      expect([...packed]).toEqual(list);
      expect(packed.length).toBe(list.length);
      for (let i = 0; i <= list.length; i++) expect(packed.at(i)).toBe(list[i]);
      expect(packed.at(-1)).toBeUndefined();
      expect(StringList.of(packed)).toBe(packed);
    }),
  ));

test("makes room as it grows, and keeps what is no UTF-8 apart from what follows", () => {
  const packed = new StringList(3, new Uint8Array(0));
  packed.push(Uint8Array.of(0, 0xe4, 0xb8), 1, 3);
  packed.push(Uint8Array.of(0xad, 0x61), 0, 2);
  packed.push(new Uint8Array(5000).fill(0x62), 0, 5000);
  expect([...packed]).toEqual(["\ufffd", "\ufffda", "b".repeat(5000)]);
  expect(packed.byteLength).toBe(5004);
});
