/** As much of a FileSystemDirectoryHandle as the store uses, in memory: files exist when their writer is closed. */

const notFound = (name: string) => new DOMException(`no ${name}`, "NotFoundError");

export class MemoryFolder {
  private readonly entries = new Map<string, MemoryFolder | MemoryFile>();

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<MemoryFolder> {
    return this.get(name, create, () => new MemoryFolder()) as MemoryFolder;
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<MemoryFile> {
    return this.get(name, create, () => new MemoryFile()) as MemoryFile;
  }

  async *keys(): AsyncIterable<string> {
    yield* this.entries.keys();
  }

  async removeEntry(name: string): Promise<void> {
    if (!this.entries.delete(name)) throw notFound(name);
  }

  private get(name: string, create: boolean, make: () => MemoryFolder | MemoryFile) {
    if (/[/\\]/.test(name) || name === "." || name === "..") throw new TypeError(`Name is not allowed: ${name}`);
    if (create && !this.entries.has(name)) this.entries.set(name, make());
    const entry = this.entries.get(name);
    if (!entry) throw notFound(name);
    return entry;
  }
}

class MemoryFile {
  private blob = new Blob([]);

  async getFile(): Promise<Blob> {
    return this.blob;
  }

  async createWritable() {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    return {
      write: async (chunk: Uint8Array) => void parts.push(chunk.slice()),
      close: async () => {
        this.blob = new Blob(parts);
      },
    };
  }
}
