/** Files on disk (Node, Deno, Bun). */
import { FormatError, InputError } from "../../tensor/errors.ts";
import { type ByteSource, checkRange, checkSibling } from "../source.ts";

type FileHandle = import("node:fs/promises").FileHandle;

// Read by a variable name and with the bundlers' ignore marks, so that builds for browsers don't try to resolve it.
const nodeFs = "node:fs/promises";
export const loadFs = (): Promise<typeof import("node:fs/promises")> =>
  import(/* webpackIgnore: true */ /* @vite-ignore */ nodeFs);

/** One read call of the operating system takes less than 2 GiB. */
const maxReadBytes = 1 << 30;

/** About as many bytes make a part. */
const partBytes = 1 << 19;

/**
 * A source over a file on disk. Opened for each read, so there is nothing to close.
 * @throws InputError when the file cannot be opened
 */
export async function fileSource(path: string | URL, name = String(path)): Promise<ByteSource> {
  const fs = await loadFs();
  const fail = (cause: unknown): never => {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new InputError(`${name}: ${code === "ENOENT" ? "there is no such file" : message}`, { cause });
  };
  const stat = await fs.stat(path).catch(fail);
  if (stat.isDirectory()) {
    const { modelFileAmong } = await import("./folder.ts");
    const files = await fs.readdir(path);
    const inside = (file: string) =>
      path instanceof URL ? new URL(file, path.href.replace(/\/?$/, "/")) : `${path}/${file}`;
    if (files.includes("onnx"))
      for (const file of await fs.readdir(inside("onnx")).catch(() => [])) files.push(`onnx/${file}`);
    return fileSource(inside(modelFileAmong(files, name)));
  }
  const { size } = stat;
  /** Fills `out` with what is at `offset`. */
  const fill = async (file: FileHandle, out: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> => {
    for (let at = 0; at < out.length; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(out, at, Math.min(out.length - at, maxReadBytes), offset + at);
      if (bytesRead === 0)
        throw new FormatError(`${name}: the file ends at ${offset + at}, it had ${size} bytes when opened`, {
          offset: offset + at,
        });
      at += bytesRead;
    }
  };
  // One buffer for the parts of all tensors: engines let garbage outside of their heap grow to many times as much.
  let spare: Uint8Array | undefined;
  const source: ByteSource = {
    size,
    name,
    local: true,
    async sibling(other) {
      checkSibling(name, other);
      const own = path instanceof URL ? path.pathname : path;
      const folder = own.slice(0, Math.max(own.lastIndexOf("/"), own.lastIndexOf("\\")) + 1);
      return fileSource(path instanceof URL ? new URL(other, path) : folder + other);
    },
    async read(offset, length, signal) {
      checkRange(source, offset, length);
      const out = new Uint8Array(length);
      const file = await fs.open(path, "r").catch(fail);
      try {
        await fill(file, out, offset, signal);
      } finally {
        await file.close();
      }
      return out;
    },
    async *parts(offset, length, granule, signal) {
      checkRange(source, offset, length);
      const step = granule * Math.max(1, Math.floor(partBytes / granule));
      let buffer = spare;
      spare = undefined;
      if (!buffer || buffer.length < step) buffer = new Uint8Array(step);
      const file = await fs.open(path, "r").catch(fail);
      try {
        for (let at = 0; at < length; at += step) {
          const part = buffer.subarray(0, Math.min(step, length - at));
          await fill(file, part, offset + at, signal);
          yield part;
        }
      } finally {
        spare = buffer;
        await file.close();
      }
    },
  };
  return source;
}
