/**
 * A language model as an ONNX graph that is run as it comes: where it has caches they go in and out and grow, so that every
 * length is planned anew; where it has none the whole text goes through it for each token.
 */

import { isPast, presentOf } from "../../formats/onnx/stateful/index.ts";
import type { ValueInfo } from "../../graph/ir.ts";
import type { Session } from "../../graph/session.ts";
import {
  checkFeed,
  checkFeedOptions,
  checkFeeds,
  checkIdle,
  checkTruncate,
  type DecoderSizes,
  type FeedOptions,
} from "../../models/transformer/feed-checks.ts";
import { toF64 } from "../../tensor/convert.ts";
import { symbolDispose } from "../../tensor/dispose.ts";
import { InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { emptyTensor, type HostTensor } from "../../tensor/tensor.ts";
import type { Feed, LanguageModel, TextSequence } from "./model.ts";

export class GraphModel implements LanguageModel {
  /** Caches without tokens. */
  readonly empty: Readonly<Record<string, HostTensor>>;

  /** One for an empty cache, one for single tokens after others. */
  readonly hasBranches: boolean;

  /** @throws UnsupportedOpError for caches whose types the graph does not say */
  constructor(
    readonly config: DecoderSizes,
    readonly session: Session,
  ) {
    const { inputs } = session;
    this.hasBranches = inputs.some((p) => p.name === "use_cache_branch");
    this.empty = Object.fromEntries(inputs.filter((p) => isPast(p.name)).map((p) => [p.name, emptyCache(p)]));
  }

  sequence(): GraphSequence {
    return new GraphSequence(this, []);
  }

  async feed(feeds: readonly Feed[], options: FeedOptions = {}): Promise<Float32Array[]> {
    return GraphSequence.feedInTurn(this, feeds, options);
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}

function emptyCache({ name, dtype, shape }: ValueInfo): HostTensor {
  if (!dtype || !shape) throw new UnsupportedOpError(`input "${name}" has no type`);
  // Named dimensions are the batch and the number of tokens.
  return emptyTensor({ dtype, shape: shape.map((d, i) => (typeof d === "number" ? d : i === 0 ? 1 : 0)) });
}

export class GraphSequence implements TextSequence {
  private caches: Record<string, HostTensor>;
  /** Tokens that the caches hold: all of the text, or none where it was cut. */
  private cached = 0;
  private busy = false;
  private disposed = false;

  constructor(
    private readonly model: GraphModel,
    private readonly fed: number[],
  ) {
    this.caches = { ...model.empty };
  }

  get tokens(): readonly number[] {
    return this.fed;
  }

  get length(): number {
    return this.fed.length;
  }

  get bytes(): number {
    return Object.values(this.caches).reduce((sum, t) => sum + (t.data as Uint8Array).byteLength, 0);
  }

  /**
   * Tokens are read before it returns.
   * @throws InputError for no tokens, unknown ones, more than the context holds, or while another `feed` is under way; DisposedError
   */
  async feed(tokens: readonly number[], options?: FeedOptions): Promise<Float32Array> {
    return (await this.feedAll(tokens, options)).slice(-this.model.config.vocabSize);
  }

  async feedAll(tokens: readonly number[], options: FeedOptions = {}): Promise<Float32Array> {
    checkFeedOptions(options);
    const own = this.taken(tokens);
    this.busy = true;
    try {
      return await this.append(own, options);
    } finally {
      this.busy = false;
    }
  }

  /** See `GraphModel.feed`: one after the other. */
  static async feedInTurn(model: GraphModel, feeds: readonly Feed[], options: FeedOptions): Promise<Float32Array[]> {
    checkFeedOptions(options);
    const parts = checkFeeds(
      feeds as readonly { sequence: GraphSequence; tokens: readonly number[] }[],
      (v) => v instanceof GraphSequence,
      (sequence, tokens) => {
        if (sequence.model !== model) throw new InputError("feed: a sequence belongs to another decoder");
        return sequence.taken(tokens);
      },
    );
    for (const { sequence } of parts) sequence.busy = true;
    try {
      const logits: Float32Array[] = [];
      for (const { sequence, tokens } of parts)
        logits.push((await sequence.append(tokens, options)).slice(-model.config.vocabSize));
      return logits;
    } finally {
      for (const { sequence } of parts) sequence.busy = false;
    }
  }

  /** A copy: who does not wait may write into the array. */
  private taken(tokens: readonly number[]): readonly number[] {
    checkFeed(this.fed.length, tokens, this.model.config);
    checkIdle(this.disposed, this.busy);
    return [...tokens];
  }

  private async append(tokens: readonly number[], options: FeedOptions): Promise<Float32Array> {
    // Branches with caches are exported for single tokens.
    if (!this.model.hasBranches || this.cached === 0 || tokens.length < 2) return this.run(tokens, options);
    const { vocabSize } = this.model.config;
    const logits = new Float32Array(tokens.length * vocabSize);
    for (const [i, t] of tokens.entries()) logits.set(await this.run([t], options), i * vocabSize);
    return logits;
  }

  /** The logits after each of the tokens. */
  private async run(tokens: readonly number[], { signal, profile }: FeedOptions): Promise<Float32Array> {
    const { session, config } = this.model;
    const all = [...this.fed, ...tokens];
    const outputs = await session.run(this.inputsFor(all), { signal, profile });
    for (const name of Object.keys(this.caches)) this.caches[name] = outputs[presentOf(name)];
    if (Object.keys(this.caches).length) this.cached = all.length;
    this.fed.push(...tokens);
    return Float32Array.from(toF64(outputs["logits"]).subarray(-tokens.length * config.vocabSize));
  }

  /** @throws InputError for more tokens than there are, or while a `feed` is under way; DisposedError */
  truncate(length: number): void {
    checkIdle(this.disposed, this.busy);
    checkTruncate(this.fed.length, length);
    if (length === this.fed.length) return;
    this.fed.length = length;
    this.caches = { ...this.model.empty };
    this.cached = 0;
  }

  /** @throws as `truncate` */
  async fork(length = this.fed.length): Promise<GraphSequence> {
    checkIdle(this.disposed, this.busy);
    checkTruncate(this.fed.length, length, "fork");
    const other = new GraphSequence(this.model, [...this.fed]);
    Object.assign(other, { caches: { ...this.caches }, cached: this.cached });
    other.truncate(length);
    return other;
  }

  dispose(): void {
    this.disposed = true;
    this.caches = {};
  }

  private inputsFor(all: readonly number[]): Record<string, HostTensor> {
    const { cached } = this;
    const known: Record<string, readonly number[]> = {
      input_ids: all.slice(cached),
      attention_mask: all.map(() => 1),
      position_ids: all.slice(cached).map((_, i) => cached + i),
      token_type_ids: all.slice(cached).map(() => 0),
    };
    const inputs: Record<string, HostTensor> = { ...this.caches };
    for (const { name, dtype = "i64" } of this.model.session.inputs) {
      if (name === "use_cache_branch")
        inputs[name] = { dtype: "bool", shape: [1], data: Uint8Array.of(cached > 0 ? 1 : 0) };
      else if (Object.hasOwn(known, name)) inputs[name] = hostTensor([known[name]], { dtype });
    }
    return inputs;
  }
}
