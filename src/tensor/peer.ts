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
 * @throws MissingPeerError where it is neither provided nor installed
 */
export async function loadPeer<T>(name: string, why: string): Promise<T> {
  if (provided.has(name)) return provided.get(name) as T;
  try {
    // By a variable name: bundlers must not insist on a package that is optional.
    return (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as T;
  } catch (cause) {
    const inNode = globalThis.process?.versions?.node;
    const then = inNode ? "" : `, then providePeer("${name}", await import("${name}"))`;
    throw new MissingPeerError(`${why} needs the package ${name}: npm install ${name}${then}`, { cause });
  }
}
