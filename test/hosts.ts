/** Hosts that this one is not. */
import { vi } from "vitest";

/**
 * Runs it as in a page: nothing says that this is Node.
 * @param location address of the page
 */
export function inPage<T>(run: () => Promise<T>, location?: string): Promise<T> {
  if (location) vi.stubGlobal("location", { href: location });
  return withProcess("versions", {}, run);
}

/** Runs it as in Deno without the permission to read environment variables. */
export function withoutEnvironment<T>(run: () => Promise<T>): Promise<T> {
  const get = (_: object, key: string) => {
    throw Object.assign(new Error(`Requires env access to "${key}"`), { name: "NotCapable" });
  };
  return withProcess("env", new Proxy({}, { get: get as ProxyHandler<object>["get"] }), run);
}

/** The rest of `process` stays, as the test runner works on meanwhile. */
async function withProcess<T>(name: keyof NodeJS.Process, value: object, run: () => Promise<T>): Promise<T> {
  const { process: own } = globalThis;
  const get = (_: object, key: string) => (key === name ? value : own[key as keyof NodeJS.Process]);
  vi.stubGlobal("process", new Proxy(own, { get: get as ProxyHandler<NodeJS.Process>["get"] }));
  try {
    return await run();
  } finally {
    vi.unstubAllGlobals();
  }
}
