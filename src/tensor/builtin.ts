/**
 * A module of Node itself, by a name that no bundler sees: builds for browsers must not look for it. Asked of the process
 * first: what runs in a context of `node:vm`, as tests in Jest do, may import nothing.
 */
export const builtin = async <Name extends keyof BuiltIns>(name: Name): Promise<BuiltIns[Name]> =>
  globalThis.process?.getBuiltinModule?.(name) ?? import(/* webpackIgnore: true */ /* @vite-ignore */ name);

interface BuiltIns {
  "node:crypto": typeof import("node:crypto");
  "node:fs": typeof import("node:fs");
  "node:path": typeof import("node:path");
  "node:worker_threads": typeof import("node:worker_threads");
}
