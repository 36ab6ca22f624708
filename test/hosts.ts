/** Hosts that this one is not. */
import { vi } from "vitest";

/**
 * Runs it as in a page: nothing says that this is Node. The rest of `process` stays, as the test runner works on meanwhile.
 * @param location address of the page
 */
export async function inPage<T>(run: () => Promise<T>, location?: string): Promise<T> {
  const { process: own } = globalThis;
  const get = (_: object, key: string) => (key === "versions" ? {} : own[key as keyof NodeJS.Process]);
  vi.stubGlobal("process", new Proxy(own, { get: get as ProxyHandler<NodeJS.Process>["get"] }));
  if (location) vi.stubGlobal("location", { href: location });
  try {
    return await run();
  } finally {
    vi.unstubAllGlobals();
  }
}
