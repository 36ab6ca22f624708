/** The checks of examples/browser: an operator without a kernel is told from one that fails. */
import { expect, test } from "vitest";
import { type Verification, verifyAll } from "../../examples/browser/verify.ts";
import type { Backend } from "../../src/backends/backend.ts";
import { cpu } from "../../src/backends/cpu/index.ts";

const own = cpu() as Backend;

test.each<[string, Partial<Backend>, Partial<Verification>]>([
  ["with kernels", {}, { error: expect.any(Number) }],
  ["without kernels", { kernels: [], kernelsFor: () => [] }, { missing: expect.stringMatching(/has no kernel/) }],
  [
    "that is lost",
    {
      open() {
        throw new Error("lost");
      },
    },
    { failure: "lost" },
  ],
])("on a device %s", async (_, change, want) => {
  const rows: Verification[] = [];
  const device: Backend = {
    ...own,
    kernelsFor: (op) => own.kernelsFor(op),
    open: () => own.open(),
    fallback: undefined,
    ...change,
  };
  await verifyAll(device, (row) => rows.push(row));
  expect(rows.length).toBeGreaterThan(10);
  for (const { op, shapes, kernel, ...rest } of rows) expect(rest).toEqual(want);
});
