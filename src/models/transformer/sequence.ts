/** Running a decoder: texts as sequences of tokens, each with its own caches, all in one session. */

import { type CompileOptions, compile } from "../../graph/compile.ts";
import { nextTurn } from "../../graph/drive.ts";
import type { Session } from "../../graph/session.ts";
import type { SessionState } from "../../graph/state.ts";
import { symbolDispose } from "../../tensor/dispose.ts";
import type { TypedArray } from "../../tensor/dtype.ts";
import { InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { checkOptions } from "../../tensor/options.ts";
import type { DecoderConfig, DecoderWeights } from "./config.ts";
import { decoder, type KvCache } from "./decoder.ts";
import {
  checkFeed,
  checkFeedOptions,
  checkFeeds,
  checkIdle,
  checkTruncate,
  type DecoderSizes,
  type FeedOptions,
  type Part,
} from "./feed-checks.ts";
import { longFrom } from "./rope.ts";
import { inputsOf, type RunInputs, setToken, sharedInputs } from "./run-inputs.ts";
import { chunkOf, isHost, leastFilled, type RunSizes, sharedSizes } from "./run-sizes.ts";

/** Tokens to append to a sequence. */
export interface Feed {
  readonly sequence: Sequence;
  readonly tokens: readonly number[];
}

export interface DecoderOptions extends Pick<CompileOptions, "ownsWeights"> {
  /** What keys and values are kept in. Default "f32". */
  kvCache?: KvCache;
}

export class Decoder {
  /** Whether a run may have tokens of several sequences. Where kernels turn out to take one only, no more. */
  shares: boolean;
  /** Texts of more tokens are turned by other factors. */
  readonly longFrom: number;

  private constructor(
    readonly config: DecoderSizes,
    readonly session: Session,
    readonly runSizes: RunSizes,
  ) {
    const positions = session.inputs.find((p) => p.name === "position")?.shape?.[0];
    this.shares = session.severalStates && typeof positions === "string";
    this.longFrom = longFrom(config.rope, config.contextLength);
  }

  /** Of a session with the inputs, the output and the state that the graph of `decoder` has. */
  static of(config: DecoderSizes, session: Session, runSizes: RunSizes = "few"): Decoder {
    return new Decoder(config, session, runSizes);
  }

  /**
   * Ready to run: weights are read and laid out.
   * @throws FormatError for weights that are missing or do not fit the configuration; InputError for what is no configuration
   * and for unknown options; UnsupportedOpError for a `kvCache` that the device has no kernels for
   */
  static async open(
    config: DecoderConfig,
    weights: DecoderWeights,
    device: CompileOptions["device"],
    options: DecoderOptions = {},
  ): Promise<Decoder> {
    checkOptions<DecoderOptions>("Decoder.open", options, { kvCache: true, ownsWeights: true });
    const { kvCache = "f32", ownsWeights } = options;
    if (kvCache !== "f32" && kvCache !== "f16")
      throw new InputError(`kvCache takes "f32" or "f16", got ${JSON.stringify(kvCache)}`);
    const opened = Decoder.of(config, await compile(decoder(config, weights, kvCache), { device, ownsWeights }));
    await opened.prepare();
    return opened;
  }

  /**
   * Runs one token, so that what is missing shows; disposes of itself then. On the CPU plans are there afterwards for prompts
   * of any length that are no longer than a few runs.
   */
  async prepare(): Promise<void> {
    try {
      const sequence = this.sequence();
      // The larger one first: programs are linked anew when what they work in grows.
      if (this.runSizes === "few" && isHost(this.session) && this.config.contextLength >= leastFilled)
        await sequence.plan(leastFilled);
      await sequence.feed([0]);
      sequence.dispose();
    } catch (e) {
      this.dispose();
      throw e;
    }
  }

  /** A text without tokens. */
  sequence(): Sequence {
    return new Sequence(this, this.session.openState(), []);
  }

  /**
   * Appends tokens to several sequences, in runs that they share where the device can: weights are then read once for all.
   * Returns the logits [vocabSize] of what comes after the last token of each, in order.
   * @throws InputError and DisposedError as `Sequence.feed`, before anything is fed, and InputError for a sequence that is
   * there twice or of another decoder; the signal's reason when aborted. What was fed until then stays.
   */
  async feed(feeds: readonly Feed[], options: FeedOptions = {}): Promise<Float32Array[]> {
    return Sequence.feedTogether(this, feeds, options);
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}

/** Outputs of the graph. */
type Wanted = "logits" | "likeliest";

const none: FeedOptions = {};

export class Sequence {
  private busy = false;
  private disposed = false;
  /** Row of the angles of this text's first token. */
  private firstAngle = 0;
  /** Inputs of runs of one token. */
  private one: RunInputs | undefined;
  private readonly repeated: { [W in Wanted]?: ReturnType<Session["repeated"]> } = {};

  constructor(
    private readonly decoder: Decoder,
    private readonly state: SessionState,
    private readonly fed: number[],
  ) {}

  /** Tokens whose keys and values are cached. */
  get tokens(): readonly number[] {
    return this.fed;
  }

  get length(): number {
    return this.fed.length;
  }

  /** Bytes of the caches. */
  get bytes(): number {
    return this.state.bytes;
  }

  /**
   * Appends tokens, which are read before it returns. Gives the logits [vocabSize] of what comes after the last of them.
   * Those that were there are computed anew where the text becomes one that is turned by other factors.
   * @throws InputError for no tokens, unknown ones, more than the context holds, or while another `feed` is under way;
   * DisposedError; the signal's reason when aborted
   */
  async feed(tokens: readonly number[], options: FeedOptions = none): Promise<Float32Array> {
    const fed = this.fedBy(tokens, options, "logits");
    return (fed instanceof Promise ? await fed : fed) as Float32Array;
  }

  /** The same where nothing but the likeliest next token is wanted: the logits stay on the device. NaN is the largest of them. */
  async likeliest(tokens: readonly number[], options: FeedOptions = none): Promise<number> {
    const fed = this.fedBy(tokens, options, "likeliest");
    const token = fed instanceof Promise ? await fed : fed;
    this.recycle(token);
    return Number(token[0]);
  }

  /** Gives back logits that nobody reads any more: a later `feed` may write its own into them. */
  recycle(logits: TypedArray): void {
    this.decoder.session.recycle(logits);
  }

  /** The same with the logits after each of the tokens: [tokens, vocabSize], for perplexities. */
  async feedAll(tokens: readonly number[], options: FeedOptions = {}): Promise<Float32Array> {
    checkFeedOptions(options);
    const own = this.checked(tokens);
    return this.exclusively(async () => {
      const { vocabSize } = this.decoder.config;
      const logits = new Float32Array(own.length * vocabSize);
      const all = this.toFeed(own, options);
      if (all.length > own.length) await this.append(all.slice(0, -own.length), options, "likeliest");
      for (let at = 0; at < own.length; ) {
        if (at > 0) await nextTurn();
        options.signal?.throwIfAborted();
        const n = this.chunk(own.length - at);
        const rows = Int32Array.from({ length: n.size }, (_, i) => i);
        const all = await this.run(own.slice(at, at + n.used), n.size, rows, options, "logits");
        logits.set((all as Float32Array).subarray(0, n.used * vocabSize), at * vocabSize);
        at += n.used;
      }
      return logits;
    });
  }

  /**
   * Forgets all but the first `length` tokens. Nothing is computed or moved.
   * @throws InputError for more than there are, or while a `feed` is under way; DisposedError
   */
  truncate(length: number): void {
    this.assertIdle();
    checkTruncate(this.fed.length, length);
    this.fed.length = length;
  }

  /**
   * A second text that begins with the same tokens, the first `length` of them, as they are now: this one may go on at once.
   * @throws as `truncate`
   */
  async fork(length = this.fed.length): Promise<Sequence> {
    this.assertIdle();
    checkTruncate(this.fed.length, length, "fork");
    const tokens = this.fed.slice(0, length);
    const { firstAngle } = this;
    const fork = new Sequence(this.decoder, await this.state.fork(length), tokens);
    fork.firstAngle = firstAngle;
    return fork;
  }

  /** Frees the caches. */
  dispose(): void {
    this.disposed = true;
    this.state.dispose();
  }

  /** Has the session make a plan for runs of so many tokens. */
  async plan(size: number): Promise<void> {
    const inputs = this.inputsOf([], size, Int32Array.of(0));
    await this.exclusively(() => this.decoder.session.plan(inputs, { state: this.state }));
  }

  /** What is wanted of a run that ends in these tokens. At once where that can be: a small model waits for promises as well. */
  private fedBy(tokens: readonly number[], options: FeedOptions, wanted: Wanted): TypedArray | Promise<TypedArray> {
    if (options !== none) checkFeedOptions(options);
    const own = this.checked(tokens);
    this.assertIdle();
    const all = this.toFeed(own, options);
    const direct = all.length === 1 && options === none ? this.runOne(all[0], wanted) : undefined;
    return direct ?? this.exclusively(() => this.append(all, options, wanted));
  }

  /** A run of one token, where that is more of the same. */
  private runOne(token: number, wanted: Wanted): TypedArray | undefined {
    const { session } = this.decoder;
    const inputs = this.inputsOfOne(token);
    this.repeated[wanted] ??= session.repeated(inputs, this.state, { outputs: [wanted] });
    const results = this.repeated[wanted](this.fed.length + 1);
    if (!results) return undefined;
    this.fed.push(token);
    return results[wanted].data as TypedArray;
  }

  /** The tokens of a feed. All of the text's, where those that are cached were turned by other factors than its length asks for. */
  private toFeed(tokens: readonly number[], { signal }: FeedOptions): readonly number[] {
    const { longFrom } = this.decoder;
    const firstAngle = this.fed.length + tokens.length > longFrom ? longFrom : 0;
    if (firstAngle === this.firstAngle) return tokens;
    signal?.throwIfAborted();
    this.firstAngle = firstAngle;
    return [...this.fed.splice(0), ...tokens];
  }

  /** Tokens that were checked, run by run. */
  private async append(tokens: readonly number[], options: FeedOptions, wanted: Wanted): Promise<TypedArray> {
    let result: TypedArray = new Float32Array(0);
    for (let at = 0; at < tokens.length; ) {
      // Other tasks have a turn before all runs but the first: threads that are starting are among them.
      if (at > 0) await nextTurn();
      options.signal?.throwIfAborted();
      const n = this.chunk(tokens.length - at);
      const part = n.used === tokens.length ? tokens : tokens.slice(at, at + n.used);
      result = await this.run(part, n.size, n.size === 1 ? undefined : Int32Array.of(n.used - 1), options, wanted);
      at += n.used;
    }
    return result;
  }

  /** How many tokens the next run takes, and how many of them are wanted. */
  private chunk(rest: number): { size: number; used: number } {
    const { config, runSizes, session } = this.decoder;
    return chunkOf(rest, config.contextLength - this.fed.length, runSizes, session);
  }

  /** @param rows that logits are wanted of: default that of the only token */
  private async run(
    tokens: readonly number[],
    size: number,
    rows: Int32Array | undefined,
    { signal, profile }: FeedOptions,
    wanted: Wanted,
  ): Promise<TypedArray> {
    // One token is too short to be stopped half way: the plain run is faster.
    const stops = size > 1 ? signal : undefined;
    const options = { state: this.state, rows: this.fed.length + size, signal: stops, profile, outputs: [wanted] };
    const inputs = rows ? this.inputsOf(tokens, size, rows) : this.inputsOfOne(tokens[0]);
    const results = await this.decoder.session.run(inputs, options);
    for (const t of tokens) this.fed.push(t);
    return results[wanted].data as TypedArray;
  }

  /** The same arrays for every token. */
  private inputsOfOne(token: number): RunInputs {
    this.one ??= this.inputsOf([], 1, Int32Array.of(0));
    setToken(this.one, token, this.end);
    return this.one;
  }

  private inputsOf(tokens: readonly number[], size: number, rows: Int32Array): RunInputs {
    return inputsOf(this.decoder, tokens, size, rows, this.end);
  }

  private get end() {
    return { position: this.fed.length, firstAngle: this.firstAngle };
  }

  /** See `Decoder.feed`. */
  static async feedTogether(decoder: Decoder, feeds: readonly Feed[], options: FeedOptions): Promise<Float32Array[]> {
    checkFeedOptions(options);
    const parts = checkFeeds(
      feeds,
      (v) => v instanceof Sequence,
      (sequence: Sequence, tokens) => {
        if (sequence.decoder !== decoder) throw new InputError("feed: a sequence belongs to another decoder");
        const own = sequence.checked(tokens);
        sequence.assertIdle();
        return own;
      },
    );
    const logits: Float32Array[] = [];
    for (const { sequence } of parts) sequence.busy = true;
    try {
      // Short ones first: those that go on token by token do not wait for a long prompt.
      let rest = parts
        .map((p) => ({ ...p, tokens: p.sequence.toFeed(p.tokens, options) }))
        .sort((a, b) => a.tokens.length - b.tokens.length);
      for (let runs = 0; rest.length > 0 && parts.length > 1 && decoder.shares; runs++) {
        if (runs > 0) await nextTurn();
        options.signal?.throwIfAborted();
        try {
          rest = await Sequence.runTogether(decoder, rest, logits, options);
        } catch (e) {
          // Before anything ran: some heads have no kernel that takes several.
          if (!(e instanceof UnsupportedOpError)) throw e;
          decoder.shares = false;
        }
      }
      for (const { sequence, tokens, i } of rest)
        logits[i] = (await sequence.append(tokens, options, "logits")) as Float32Array;
      return logits;
    } finally {
      for (const { sequence } of parts) sequence.busy = false;
    }
  }

  /** One run, of as many tokens as go into it. Sets the logits of feeds that end in it, and returns the others' rest. */
  private static async runTogether(
    decoder: Decoder,
    feeds: readonly Part<Sequence>[],
    logits: Float32Array[],
    { signal, profile }: FeedOptions,
  ): Promise<Part<Sequence>[]> {
    const most = sharedSizes.at(-1)!;
    const parts: (Part<Sequence> & { ends: boolean })[] = [];
    let count = 0;
    for (const { sequence, tokens, i } of feeds) {
      if (count === most) break;
      const taken = tokens.slice(0, most - count);
      parts.push({ sequence, tokens: taken, i, ends: taken.length === tokens.length });
      count += taken.length;
    }
    const texts = parts.map(({ sequence, tokens, ends }) => ({ tokens, ends, ...sequence.end }));
    const result = await decoder.session.run(sharedInputs(decoder, texts), {
      state: parts.map((p) => p.sequence.state),
      rows: parts.map((p) => p.sequence.length + p.tokens.length),
      signal: count > parts.length ? signal : undefined,
      profile,
      outputs: ["logits"],
    });
    for (const { sequence, tokens } of parts) sequence.fed.push(...tokens);
    const all = result["logits"].data as Float32Array;
    const { vocabSize } = decoder.config;
    for (const [r, { i }] of parts.filter((p) => p.ends).entries())
      logits[i] = all.slice(r * vocabSize, (r + 1) * vocabSize);
    return feeds.flatMap(({ sequence, tokens, i }, k) => {
      const rest = tokens.slice(parts[k]?.tokens.length ?? 0);
      return rest.length ? [{ sequence, tokens: rest, i }] : [];
    });
  }

  /** A copy: who does not wait may write into the array. Throws what `feed` says of tokens. */
  private checked(tokens: readonly number[]): readonly number[] {
    checkFeed(this.fed.length, tokens, this.decoder.config);
    return tokens.slice();
  }

  private async exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.assertIdle();
    this.busy = true;
    try {
      return await work();
    } finally {
      this.busy = false;
    }
  }

  private assertIdle(): void {
    checkIdle(this.disposed, this.busy);
  }
}
