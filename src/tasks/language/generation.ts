/** An answer of a language model, and how its text is given out. */
import { TextStream, type Tokenizer } from "../tokenizers/tokenizer.ts";
import { StopStrings } from "./stop.ts";

export interface TokenInfo {
  readonly token: number;
  /** Its bytes as text, with U+FFFD where they are part of a character. */
  readonly text: string;
  /** Natural logarithm of its probability, at temperature 1. */
  readonly logprob: number;
}

/** Why an answer ended: the model ended it, a stop string came, `maxTokens` or the context was full. */
export type FinishReason = "end" | "stop" | "length" | "context";

export interface Generation {
  /** The continuation, without the prompt. */
  text: string;
  tokens: number[];
  promptTokens: number;
  /** Of the prompt, those whose keys and values an earlier call left. */
  reusedTokens: number;
  finish?: FinishReason;
  /** Milliseconds until the first token. */
  firstTokenMs: number;
  /** Milliseconds of all tokens after the first. */
  decodeMs: number;
  logprobs?: (TokenInfo & { top: TokenInfo[] })[];
}

/** Tokens to text that may be given out: whole characters, no stop strings. */
export class PieceFilter {
  stopped = false;
  private readonly stream: TextStream | undefined;
  private readonly stops: StopStrings;

  constructor(tokenizer: Tokenizer | undefined, begins: boolean, stops: readonly string[]) {
    this.stream = tokenizer && new TextStream(tokenizer, begins);
    this.stops = new StopStrings(stops);
  }

  push(token: number): string {
    const { text, stopped } = this.stops.push(this.stream?.push(token) ?? "");
    this.stopped = stopped;
    return text;
  }

  end(): string {
    if (this.stopped) return "";
    const { text, stopped } = this.stops.push(this.stream?.end() ?? "");
    return stopped ? text : text + this.stops.end();
  }
}

/** A text as it is generated. Read it once, as an async iterable or as a stream. */
export class TextPieces implements AsyncIterable<string> {
  private pieces: AsyncGenerator<string, void> | undefined;

  constructor(
    /** Filled in as the text goes on. */
    readonly generation: Generation,
    private readonly start: (signal: AbortSignal | undefined) => AsyncGenerator<string, void>,
    private readonly signal: AbortSignal | undefined,
  ) {}

  [Symbol.asyncIterator](): AsyncGenerator<string, void> {
    this.pieces ??= this.start(this.signal);
    return this.pieces;
  }

  /**
   * Cancelling it stops the generation, also in the prompt. Safari neither iterates over streams with `for await` nor transfers
   * them: there, iterate over this object, or use the stream's reader.
   */
  toReadableStream(): ReadableStream<string> {
    const { signal } = this;
    const cancelled = new AbortController();
    this.pieces ??= this.start(signal ? AbortSignal.any([signal, cancelled.signal]) : cancelled.signal);
    const { pieces } = this;
    return new ReadableStream<string>({
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        // What is under way has to end before a generator takes its "return".
        cancelled.abort();
        await pieces.return();
      },
    });
  }
}
