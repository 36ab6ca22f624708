import fc from "fast-check";
import { expect, test } from "vitest";
import { WordWrap } from "../../src/cli/wrap.ts";

const wrapped = (columns: number, ...pieces: string[]): string[] => {
  const wrap = new WordWrap(columns);
  return (pieces.map((p) => wrap.push(p)).join("") + wrap.end()).split("\n");
};

test("lines end between words, however the pieces come", () => {
  expect(wrapped(12, "the quick br", "own fox", " jumps")).toEqual(["the quick", "brown fox", "jumps"]);
  expect(wrapped(12, "a\n\n  b c")).toEqual(["a", "", "  b c"]);
});

test("a word longer than a line is left to the terminal, and shown as it comes", () => {
  expect(wrapped(5, "ab abcdefghijkl m")).toEqual(["ab", "abcdefghijkl", "m"]);
  expect(new WordWrap(5).push("abcdefghijkl")).toBe("abcdefghij");
});

test("wide characters take two columns, marks none, and lines may end between them", () => {
  expect(wrapped(8, "日本語の文章です")).toEqual(["日本語の", "文章です"]);
  expect(wrapped(6, "ab 日本語")).toEqual(["ab 日", "本語"]);
  expect(wrapped(4, "👍👍👍")).toEqual(["👍👍", "👍"]);
  expect(wrapped(4, "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧")).toEqual(["👩‍👩‍👧👩‍👩‍👧", "👩‍👩‍👧"]);
  expect(wrapped(4, "e\u0301e\u0301e\u0301e\u0301 x")).toEqual(["e\u0301e\u0301e\u0301e\u0301", "x"]);
  // Nothing is held back until a space comes.
  const wrap = new WordWrap(20);
  expect(wrap.push("日本語の文")).toBe("日本語の");
});

test("nothing is lost but spaces at line ends, and no line is too long", () => {
  const text = fc.string({ unit: fc.constantFrom(..."ab 日日 \n"), maxLength: 60 });
  fc.assert(
    fc.property(fc.array(text, { maxLength: 4 }), fc.integer({ min: 2, max: 12 }), (pieces, columns) => {
      const lines = wrapped(columns, ...pieces);
      const bare = (t: string): string => t.replace(/[ \n]/g, "");
      expect(bare(lines.join(""))).toBe(bare(pieces.join("")));
      for (const line of lines.filter((l) => l.split(" ").every((w) => w.replace(/日/g, " ").length <= columns))) {
        const width = Array.from(line.trim(), (c) => (c === "日" ? 2 : 1)).reduce((a, b) => a + b, 0);
        expect(width).toBeLessThanOrEqual(columns);
      }
    }),
  );
});
