/** As much of a FileSystemDirectoryHandle as the store uses, in memory: files exist when their writer is closed. */

const notFound = (name: string) => new DOMException(`no ${name}`, "NotFoundError");

/** What a file or folder takes, beside its content. */
const entryBytes = 100;

/** Of all that is in a folder. What is removed gives none back. */
class Quota {
  constructor(public left: number) {}

  take(bytes: number): void {
    if (bytes > this.left) throw new DOMException("it would exceed the quota", "QuotaExceededError");
    this.left -= bytes;
  }
}

export class MemoryFolder {
  private readonly entries = new Map<string, MemoryFolder | MemoryFile>();

  constructor(readonly quota: Quota = new Quota(Infinity)) {}

  /** @param bytes that fit in it */
  static of(bytes: number): MemoryFolder {
    return new MemoryFolder(new Quota(bytes));
  }

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<MemoryFolder> {
    return this.get(name, create, () => new MemoryFolder(this.quota)) as MemoryFolder;
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<MemoryFile> {
    return this.get(name, create, () => new MemoryFile(this.quota)) as MemoryFile;
  }

  async *keys(): AsyncIterable<string> {
    yield* this.entries.keys();
  }

  async removeEntry(name: string): Promise<void> {
    if (!this.entries.delete(name)) throw notFound(name);
  }

  private get(name: string, create: boolean, make: () => MemoryFolder | MemoryFile) {
    if (/[/\\]/.test(name) || name === "." || name === "..") throw new TypeError(`Name is not allowed: ${name}`);
    if (create && !this.entries.has(name)) {
      this.quota.take(entryBytes);
      this.entries.set(name, make());
    }
    const entry = this.entries.get(name);
    if (!entry) throw notFound(name);
    return entry;
  }
}

class MemoryFile {
  private blob = new Blob([]);

  constructor(private readonly quota: Quota) {}

  async getFile(): Promise<Blob> {
    return this.blob;
  }

  async createWritable() {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let failed = false;
    return {
      write: async (chunk: Uint8Array) => {
        failed = true;
        this.quota.take(chunk.length);
        failed = false;
        parts.push(chunk.slice());
      },
      close: async () => {
        if (failed) throw new TypeError("Cannot close a ERRORED writable stream");
        this.blob = new Blob(parts);
      },
    };
  }
}
