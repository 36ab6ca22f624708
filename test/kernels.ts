/** One property test for each kernel of a backend. A kernel that none of its cases reaches fails. */
import { describe, test } from "vitest";
import type { Backend, Step } from "../src/backends/backend.ts";
import { checkKernel } from "./kernel-property.ts";

const runsPerKernel = Number(process.env["FORWARDPASS_RUNS"] ?? 60);

/**
 * @param runs cases that are to reach each kernel
 * @param timeout milliseconds for each kernel; default: the suite's
 */
export function testKernels<S extends Step>(
  label: string,
  backend: Backend<S>,
  runs = runsPerKernel,
  timeout?: number,
): void {
  describe(label, () => {
    for (const kernel of backend.kernels) test(kernel.name, () => checkKernel(backend, kernel, runs), timeout);
  });
}
