/** Every operator with a reference has generated cases, and the reference accepts some of them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as ops from "../src/ops/index.ts";
import type { AnyOp, OpDef } from "../src/ops/op.ts";
import { formatType } from "../src/tensor/shape.ts";
import { cases } from "./cases/index.ts";
import { runReference } from "./kernel-property.ts";

const definitions: OpDef[] = Object.values(ops)
  .filter((v): v is typeof v & AnyOp => typeof v === "function" && "op" in v)
  .map((v) => (v as AnyOp).op);

describe("operators", () => {
  test("every operator with a reference has cases", () => {
    const missing = definitions.filter((op) => op.reference && !(op.name in cases)).map((op) => op.name);
    expect(missing).toEqual([]);
  });

  test.each(definitions.filter((op) => op.reference).map((op) => [op.name, op] as const))(
    "%s: the reference fills every output with what its shape rule says",
    (_, op) => {
      let accepted = 0;
      fc.assert(
        fc.property(cases[op.name], (c) => {
          const outputs = runReference(op, c);
          if (!outputs) return;
          accepted++;
          for (const t of outputs) {
            expect(t.data.length, formatType(t)).toBe(t.shape.reduce((n, d) => n * d, 1));
            // Rows of an array of strings may be left empty by mistake, not numbers: those are always defined.
            if (Array.isArray(t.data)) expect(t.data.every((s) => typeof s === "string")).toBe(true);
          }
        }),
        { numRuns: 12, seed: 7 },
      );
      expect(accepted).toBeGreaterThan(0);
    },
  );
});
