import fc from "fast-check";
import { expect, test } from "vitest";
import { LinearMemory } from "../../src/backends/wasm/memory.ts";

const start = new LinearMemory(false).end;

test("blocks do not overlap, and all that was released is one piece again", () =>
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1000), fc.boolean(), fc.nat(50))), (steps) => {
      const memory = new LinearMemory(false);
      const held: { at: number; bytes: number }[] = [];
      for (const [bytes, releases, which] of steps) {
        if (releases && held.length) {
          const [block] = held.splice(which % held.length, 1);
          memory.release(block.at, block.bytes);
        } else if (bytes) {
          const block = { at: memory.allocate(bytes), bytes };
          expect(block.at % 64).toBe(0);
          expect(block.at + bytes).toBeLessThanOrEqual(memory.end);
          for (const other of held)
            expect(other.at >= block.at + bytes || block.at >= other.at + other.bytes).toBe(true);
          held.push(block);
        }
      }
      const last = Math.max(start, ...held.map((b) => b.at + Math.ceil(b.bytes / 64) * 64));
      expect(memory.end).toBe(last);
      for (const block of held) memory.release(block.at, block.bytes);
      expect(memory.end).toBe(start);
    }),
  ));

test("blocks that grow side by side take little more than they are", () => {
  const memory = new LinearMemory(false);
  const count = 20;
  let size = 640;
  let blocks = Array.from({ length: count }, () => memory.allocate(size));
  for (let i = 0; i < 6; i++) {
    blocks = blocks.map((at) => {
      const larger = memory.allocate(2 * size);
      memory.release(at, size);
      return larger;
    });
    size *= 2;
  }
  expect(memory.end).toBeLessThan(1.25 * count * size);
});
