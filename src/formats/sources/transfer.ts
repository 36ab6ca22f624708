/** One download to a file in a store, from where an earlier one ended. */
import { InputError } from "../../tensor/errors.ts";
import { hasFileSystem } from "../source.ts";
import { bodyLength, Connection, contentRange, eachChunk, type RequestOptions, validatorOf } from "./http.ts";
import type { Store } from "./store.ts";
import { isWritten, thisWriter, type Writer, writing } from "./writer.ts";

/** A file in the store that is not complete. */
export interface Part {
  readonly file: string;
  readonly version?: string;
  /** What the server said of it: see `validatorOf`. */
  readonly validator?: string;
  readonly writer?: Writer;
}

interface Place {
  /** A name that no other file has. */
  fresh(): string;
  /** What an earlier transfer left, or another program is at. */
  readonly part: Part | undefined;
  /** The validator of the complete copy that can be used if it is still the latest. */
  readonly kept: string | undefined;
  /** Remembers what is on its way, should the program end. */
  note(part: Part): Promise<void>;
}

export class Transfer {
  /** Bytes in the file. */
  at = 0;
  private file = "";
  /** Whether the store has taken the file. */
  private begun = false;
  private validator: string | undefined;
  private total = 0;

  constructor(
    private readonly what: { readonly url: string; readonly version?: string },
    private readonly store: Store,
    private readonly options: RequestOptions,
    private readonly place: Place,
  ) {}

  /**
   * The file with all of it, or undefined when the kept copy is still the latest.
   * @throws InputError when it can't be fetched; the signal's reason on abort
   */
  async run(): Promise<Part | undefined> {
    const { what, options } = this;
    const { kept } = this.place;
    await this.goOn();
    const c = new Connection(what.url, options);
    c.loaded = this.at;
    let unchanged = false;
    try {
      await c.persist(options.signal, async () => {
        // An answer from the browser's own cache would be compared with itself.
        const init: RequestInit = kept && !this.mayAsk ? { cache: "no-store" } : {};
        const response = await c.request(this.headers(), options.signal, init);
        unchanged = kept !== undefined && (response.status === 304 || validatorOf(response) === kept);
        try {
          return unchanged || (await this.receive(response, c));
        } finally {
          // A body that nobody reads holds its connection, of which browsers have six for a host.
          response.body?.cancel().catch(() => {});
        }
      });
    } catch (e) {
      // Nobody can tell later whether a file without a validator goes on.
      if (this.file && this.validator === undefined) await this.store.remove(this.file);
      throw e;
    }
    if (!unchanged) return this.asPart();
    if (this.file) await this.store.remove(this.file);
    return undefined;
  }

  /** To be called when the file has become another's. */
  end(): void {
    writing.delete(this.file);
  }

  /** Whether the file that was begun is there no more. */
  isGone = async (): Promise<boolean> =>
    this.begun && this.validator !== undefined && (await this.store.open(this.file)) === undefined;

  private asPart(): Part {
    return { file: this.file, version: this.what.version, validator: this.validator };
  }

  /** Makes a file this transfer's own. */
  private async write(file: string, validator: string | undefined): Promise<void> {
    writing.delete(this.file);
    writing.add(file);
    this.file = file;
    this.validator = validator;
    if (validator) await this.place.note({ ...this.asPart(), writer: thisWriter() });
  }

  /** Takes what a program left that ended, by a new name: of two that try one gets it. */
  private async goOn(): Promise<void> {
    const { part } = this.place;
    if (!part || isWritten(part.file, part.writer)) return;
    const { store } = this;
    const own = store.rename ? this.place.fresh() : part.file;
    if (store.rename && !(await store.rename(part.file, own))) return;
    if (part.version !== this.what.version || part.validator === undefined) return store.remove(own);
    await this.write(own, part.validator);
    this.begun = true;
    this.at = (await store.open(own))?.size ?? 0;
  }

  /** Whether to send conditions: for them browsers need another origin's leave, which is rare. There the answer is compared. */
  private get mayAsk(): boolean {
    return hasFileSystem() || new URL(this.what.url).origin === globalThis.origin;
  }

  private headers(): Record<string, string> {
    const { at, validator } = this;
    // A range also keeps the server from compressing: positions are those of the file.
    const headers: Record<string, string> = { Range: `bytes=${at}-` };
    const { kept } = this.place;
    if (kept && this.mayAsk) headers[kept.startsWith('"') ? "If-None-Match" : "If-Modified-Since"] = kept;
    // Browsers ask the server first whether they may send this one: there the answer is compared.
    if (at > 0 && validator && hasFileSystem()) headers["If-Range"] = validator;
    return headers;
  }

  /** Whether the file is complete. */
  private async receive(response: Response, c: Connection): Promise<boolean> {
    const range = contentRange(response);
    const validator = validatorOf(response);
    if (
      response.status === 206 &&
      range?.start === this.at &&
      (this.at === 0 || this.continues(validator, range.total))
    )
      this.total = range.total;
    else if (response.status === 200) {
      this.at = 0;
      this.total = bodyLength(response);
    } else {
      const size = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
      if (response.status === 416 && Number(size) === this.at) {
        // An empty file.
        if (this.at === 0) await this.begin(validator);
        // All there already. Where no If-Range was sent, the answer has to say of which version.
        if (validator === this.validator || (validator === undefined && hasFileSystem())) return true;
      }
      if (this.at === 0) throw new InputError(`${c.url}: answers HTTP ${response.status} to a request for all of it`);
      this.at = 0;
      c.loaded = 0;
      return false;
    }
    if (this.at === 0) await this.begin(validator);
    c.loaded = this.at;
    c.total = this.total;
    const writer = await this.store.write(this.file, this.at);
    try {
      await eachChunk(response, async (chunk) => {
        await writer.write(chunk);
        this.at += chunk.length;
        c.progress(chunk.length);
      });
    } finally {
      await writer.close();
    }
    if (this.total && this.at > this.total)
      throw new InputError(`${c.url}: received ${this.at} bytes, the server announced ${this.total}`);
    return this.at === this.total || !this.total;
  }

  /** Whether what comes belongs to what is there. Without validators only within one transfer, and by the size. */
  private continues(validator: string | undefined, total: number): boolean {
    return validator === this.validator && (validator !== undefined || total === this.total);
  }

  private async begin(validator: string | undefined): Promise<void> {
    this.begun = false;
    if (this.file) await this.store.remove(this.file);
    await this.write(this.place.fresh(), validator);
    await (await this.store.write(this.file, 0)).close();
    this.begun = true;
  }
}
