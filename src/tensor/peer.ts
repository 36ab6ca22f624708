/** Optional peer packages: loaded when they are first needed. */
import { MissingPeerError } from "./errors.ts";

const provided = new Map<string, unknown>();

/**
 * Gives the engine an optional peer that your bundle has: bundlers don't follow the engine's own import of it, so that
 * nobody has to install what is optional.
 * `providePeer("@huggingface/tokenizers", await import("@huggingface/tokenizers"))`
 */
export function providePeer(name: string, module: unknown): void {
  provided.set(name, module);
}

/**
 * The module of an optional peer.
 * @param why what needs it, for the message
 * @throws MissingPeerError where it is neither provided nor installed, or does not load
 */
export async function loadPeer<T>(name: string, why: string): Promise<T> {
  if (provided.has(name)) return provided.get(name) as T;
  try {
    // By a variable name: bundlers must not insist on a package that is optional.
    return (await ((globalThis as CommonJs).commonJsModule
      ? importOrRequire(name)
      : import(/* webpackIgnore: true */ /* @vite-ignore */ name))) as T;
  } catch (cause) {
    const inNode = globalThis.process?.versions?.node;
    const { code, message } = cause as NodeJS.ErrnoException;
    // Browsers have no codes, and workerd has none that says it.
    const bundled = !inNode || /^No such module/.test(message);
    // What is missing may be a package that this one needs.
    const names = RegExp(`['"]${name}['"]`).test(message);
    const there = inNode && !(names && (bundled || /MODULE_NOT_FOUND/.test(code!)));
    const then = bundled ? `, then providePeer("${name}", await import("${name}"))` : "";
    throw new MissingPeerError(
      `${why} needs the package ${name}${there ? `, which does not load: ${message}` : `: npm install ${name}${then}`}`,
      { cause },
    );
  }
}

/** What the build puts into CommonJS modules: see scripts/bundle.ts. */
interface CommonJs {
  commonJsModule?: Partial<NodeJS.Module>;
}

/** In a context of `node:vm`, as Jest's, modules that were required can require, and not import. */
async function importOrRequire(name: string): Promise<unknown> {
  try {
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (cause) {
    const { require: late } = (globalThis as CommonJs).commonJsModule!;
    if (!late || !/VM_DYNAMIC_IMPORT/.test((cause as NodeJS.ErrnoException).code!)) throw cause;
    const found = late(name) as object;
    return { default: found, ...found };
  }
}
