/** Downloads in a folder (Node, Deno, Bun). */
import { builtin } from "../../tensor/builtin.ts";
import { InputError } from "../../tensor/errors.ts";
import { environment } from "../source.ts";
import { fileSource, loadFs } from "./file.ts";
import { type Store, unique } from "./store.ts";

/** The user's folder for files that can be fetched again. */
export function usualFolder(): string | undefined {
  const chosen = environment("FORWARDPASS_CACHE");
  if (chosen) return chosen;
  const { platform } = globalThis.process;
  const [home, local] = [environment("HOME"), environment("LOCALAPPDATA")];
  if (platform === "win32") return local && `${local}/forwardpass/Cache`;
  if (platform === "darwin") return home && `${home}/Library/Caches/forwardpass`;
  const caches = environment("XDG_CACHE_HOME") || (home && `${home}/.cache`);
  return caches && `${caches}/forwardpass`;
}

/**
 * Makes a folder, and those that it is to be in. Node's `recursive` does the same, but in Node 20 it never ends where one cannot
 * be made in a folder that is there, as under /proc.
 * @returns the first that was not there
 * @throws what `mkdir` throws
 */
export async function makeFolder(path: string): Promise<string | undefined> {
  const fs = await loadFs();
  const { dirname } = await builtin("node:path");
  const isFolder = async (p: string) => (await fs.stat(p).catch(() => undefined))?.isDirectory();
  for (let first: string | undefined, tries = 1; ; tries++)
    try {
      await fs.mkdir(path);
      return first ?? path;
    } catch (e) {
      if (await isFolder(path)) return first;
      const parent = dirname(path);
      if ((e as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw e;
      if (!(await isFolder(parent))) first = await makeFolder(parent);
      // Others may have made it since.
      else if (tries > 1) throw e;
    }
}

/**
 * A folder that can only be read will do for what is in it: writing to it is an InputError then. Not the usual one, without which
 * files can be fetched, unless nothing is fetched.
 * @throws InputError for a folder that cannot be made, and for an empty one that cannot be written to
 * @returns undefined where no folder was named and the usual one cannot be used
 */
export async function openFileStore(named: string | undefined, offline?: boolean): Promise<Store | undefined> {
  const folder = named ?? usualFolder();
  if (!folder) return undefined;
  const fs = await loadFs();
  const fail = (cause: unknown): never => {
    throw new InputError(`the cache in ${folder}: ${(cause as Error).message}`, { cause });
  };
  try {
    await makeFolder(folder);
    // Tried out: `access` does not know all that forbids it, and without a permission of Deno's ends the program.
    const probe = `${folder}/.${unique()}`;
    await fs.writeFile(probe, "");
    await fs.rm(probe);
  } catch (cause) {
    const chosen = named ?? environment("FORWARDPASS_CACHE");
    const files = chosen || offline ? await fs.readdir(folder).catch(() => []) : [];
    if (files.length === 0) return chosen ? fail(cause) : undefined;
  }
  const pathOf = (name: string): string => `${folder}/${name.split("/").map(safeName).join("/")}`;
  return {
    name: folder,
    async open(name) {
      const path = pathOf(name);
      const stat = await fs.stat(path).catch(() => undefined);
      return stat?.isFile() ? fileSource(path) : undefined;
    },
    async write(name, at) {
      const path = pathOf(name);
      await makeFolder(path.slice(0, path.lastIndexOf("/"))).catch(fail);
      const file = await fs.open(path, at === 0 ? "w" : "r+").catch(fail);
      let position = at;
      return {
        async write(chunk) {
          for (let done = 0; done < chunk.length; ) {
            const { bytesWritten } = await file.write(chunk, done, chunk.length - done, position).catch(fail);
            done += bytesWritten;
            position += bytesWritten;
          }
        },
        close: () => file.close().catch(fail),
      };
    },
    async endings(start) {
      const path = pathOf(start);
      const begins = path.slice(path.lastIndexOf("/") + 1);
      const files = await fs.readdir(path.slice(0, -begins.length)).catch(() => []);
      return files.filter((f) => f.startsWith(begins)).map((f) => f.slice(begins.length));
    },
    async remove(name) {
      await fs.rm(pathOf(name), { force: true }).catch(fail);
    },
    async rename(from, to) {
      const [path, target] = [pathOf(from), pathOf(to)];
      try {
        await fs.rename(path, target).catch(async (e) => {
          // workerd takes the place of no other file.
          if (e.code !== "EEXIST") throw e;
          await fs.rm(target, { force: true });
          await fs.rename(path, target);
        });
        return true;
      } catch (e) {
        return (e as NodeJS.ErrnoException).code === "ENOENT" ? false : fail(e);
      }
    },
  };
}

/** A part of a path that no file system takes for anything else. */
const safeName = (part: string): string =>
  /^\.+$/.test(part)
    ? part.replaceAll(".", "%2e")
    : part.replace(/[^\w.@+=-]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
