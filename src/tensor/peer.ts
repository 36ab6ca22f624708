/** Optional peer packages: loaded when they are first needed. */
import { MissingPeerError } from "./errors.ts";

/**
 * The module of an optional peer.
 * @param why what needs it, for the message
 * @throws MissingPeerError where it is not installed
 */
export async function loadPeer<T>(name: string, why: string): Promise<T> {
  try {
    // By a variable name: bundlers must not insist on a package that is optional.
    return (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as T;
  } catch (cause) {
    throw new MissingPeerError(`${why} needs the package ${name}: npm install ${name}`, { cause });
  }
}
