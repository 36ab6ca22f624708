/** Files that are written whole, or not at all. */
import { open, readlink, realpath, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { unique } from "../formats/sources/store.ts";
import { InputError } from "../tensor/errors.ts";

type Chunks = Iterable<string | Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Under names of their own until all are whole: what is read for one may be one of them, another process may write them too, and
 * who stops it finds nothing left behind. Then each, in their order, takes the place of the file that has its name. A link stays one.
 * @throws InputError that names the file; what its chunks throw
 */
export async function replaceFiles(files: ReadonlyMap<string, Chunks>): Promise<void> {
  const written: { partial: string; target: string; fail: (cause: Error) => never }[] = [];
  try {
    for (const [path, chunks] of files) {
      const fail = (cause: Error): never => {
        throw new InputError(`${path}: ${cause.message}`, { cause });
      };
      const target = await behindLinks(path);
      const partial = `${target}.${unique()}.partial`;
      const file = await open(partial, "wx").catch(fail);
      written.push({ partial, target, fail });
      try {
        for await (const chunk of chunks) await file.writeFile(chunk).catch(fail);
      } finally {
        await file.close().catch(fail);
      }
    }
    for (const { partial, target, fail } of written) await rename(partial, target).catch(fail);
  } catch (e) {
    for (const { partial } of written) await rm(partial, { force: true }).catch(() => {});
    throw e;
  }
}

/** Where a link leads, through others too: there may be nothing yet. */
async function behindLinks(path: string, most = 40): Promise<string> {
  const link = await readlink(path).catch(() => undefined);
  if (link === undefined) return path;
  if (most === 0) throw new InputError(`${path}: links lead in a circle`);
  const folder = await realpath(dirname(path));
  return behindLinks(resolve(folder, link), most - 1);
}
