/** Files on disk (Node, Deno, Bun). */
import { builtin } from "../../tensor/builtin.ts";
import { FormatError, InputError } from "../../tensor/errors.ts";
import { leaveScratch, partSize, takeScratch } from "../../tensor/scratch.ts";
import { type ByteSource, besideUrl, checkRange, checkSibling, type HeldSource } from "../source.ts";

export const loadFs = async (): Promise<typeof import("node:fs/promises")> => (await builtin("node:fs")).promises;

/** One read call of the operating system takes less than 2 GiB. */
const maxReadBytes = 1 << 30;

interface Opened {
  readonly fd: number;
  close?(): Promise<void>;
}

/** Files that were held, and nobody reads any more, by their descriptors: a closure would keep its file from being forgotten. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<number>(async (fd) =>
  (await builtin("node:fs")).closeSync(fd),
);

/**
 * A source over a file on disk. Opened for each read, so there is nothing to close; one that is held is closed when nobody
 * has the source any more.
 * @throws InputError when the file cannot be opened, or is a pipe, socket or device
 */
export async function fileSource(path: string | URL, name = String(path)): Promise<ByteSource> {
  const fs = await builtin("node:fs");
  const fail = (cause: unknown): never => {
    const { code, message } = cause as NodeJS.ErrnoException;
    // ENOTDIR: it would be beside what lies in a file.
    const notFound = code === "ENOENT" || code === "ENOTDIR";
    throw new InputError(`${name}: ${notFound ? "there is no such file" : message}`, { cause, notFound });
  };
  const now = <T>(work: () => T): T => {
    try {
      return work();
    } catch (e) {
      return fail(e);
    }
  };
  const stat = await fs.promises.stat(path).catch(fail);
  if (stat.isDirectory()) {
    const { modelFileAmong } = await import("./folder.ts");
    const files = await fs.promises.readdir(path);
    const inside = (file: string) =>
      path instanceof URL
        ? new URL(besideUrl(name, file, path.href.replace(/\/?$/, "/")))
        : path.replace(/[/\\]?$/, "/") + file;
    if (files.includes("onnx"))
      for (const file of await fs.promises.readdir(inside("onnx")).catch(() => [])) files.push(`onnx/${file}`);
    return fileSource(inside(modelFileAmong(files, name)));
  }
  // To open a pipe waits for who writes to it.
  if (!stat.isFile())
    throw new InputError(`${name}: a pipe, socket or device: copy what it gives into a file, or hand over its bytes`);
  const { size, mtimeMs } = stat;
  const ended = (offset: number): never => {
    throw new FormatError(`${name}: the file ends at ${offset}, it had ${size} bytes when opened`, { offset });
  };
  const read = (fd: number, out: Uint8Array, at: number, position: number): Promise<number> =>
    new Promise((resolve, reject) => {
      fs.read(fd, out, at, Math.min(out.length - at, maxReadBytes), position, (e, n) => (e ? reject(e) : resolve(n)));
    });
  /** Fills `out` with what is at `offset`. */
  const fill = async (fd: number, out: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> => {
    for (let at = 0; at < out.length; ) {
      signal?.throwIfAborted();
      at += (await read(fd, out, at, offset + at).catch(fail)) || ended(offset + at);
    }
  };
  const over = (open: (offset: number) => Promise<Opened>): ByteSource => {
    const source: ByteSource = {
      size,
      name,
      local: true,
      async sibling(other) {
        if (path instanceof URL) return fileSource(new URL(besideUrl(name, other, path.href)));
        checkSibling(name, other);
        return fileSource(path.slice(0, Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1) + other);
      },
      async read(offset, length, signal) {
        checkRange(source, offset, length);
        const out = new Uint8Array(length);
        const file = await open(offset);
        try {
          await fill(file.fd, out, offset, signal);
        } finally {
          await file.close?.();
        }
        return out;
      },
      async *parts(offset, length, granule, signal) {
        checkRange(source, offset, length);
        const step = Math.min(length, partSize(granule));
        const file = await open(offset);
        const buffer = takeScratch(step);
        try {
          for (let at = 0; at < length; at += step) {
            const part = buffer.subarray(0, Math.min(step, length - at));
            await fill(file.fd, part, offset + at, signal);
            yield part;
          }
        } finally {
          leaveScratch(buffer);
          await file.close?.();
        }
      },
      hold,
    };
    return source;
  };
  const hold = (): HeldSource => {
    const fd = now(() => fs.openSync(path, "r"));
    const file: Opened = { fd };
    forgotten.register(file, fd);
    const unchanged = (offset: number): Opened => {
      const latest = fs.fstatSync(file.fd);
      if (latest.size < size) ended(latest.size);
      if (latest.mtimeMs === mtimeMs) return file;
      throw new FormatError(`${name}: the file was changed before its bytes from ${offset} on were read`, { offset });
    };
    unchanged(0);
    return {
      ...over(async (offset) => unchanged(offset)),
      readSync(offset, length) {
        checkRange({ name, size }, offset, length);
        const { fd } = unchanged(offset);
        const out = new Uint8Array(length);
        for (let at = 0; at < length; ) {
          const wanted = Math.min(length - at, maxReadBytes);
          at += now(() => fs.readSync(fd, out, at, wanted, offset + at)) || ended(offset + at);
        }
        return out;
      },
    };
  };
  return over(() => fs.promises.open(path, "r").catch(fail));
}
