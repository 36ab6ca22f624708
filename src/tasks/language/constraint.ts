/** Which tokens of a vocabulary continue a text of a grammar. */
import { InputError } from "../../tensor/errors.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";
import { type GrammarState, mayEnd, mustEnd, stateKey } from "./grammar.ts";
import { type JsonSchema, schemaGrammar } from "./json-schema.ts";
import type { TokenFilter } from "./sampling.ts";

/** Tokens by their bytes: what begins alike is gone through once. */
interface Trie {
  readonly children: Map<number, Trie>;
  readonly tokens: number[];
}

const tries = new WeakMap<Tokenizer, Trie>();
/** Sets of accepted tokens that are kept: states come again, those inside strings above all. */
const keptSets = 32;

export class JsonConstraint implements TokenFilter {
  private readonly grammar;
  private state: GrammarState;
  private readonly sets = new Map<string, Int32Array>();

  /** @throws InputError for a schema that is not supported */
  constructor(
    schema: JsonSchema,
    private readonly tokenizer: Tokenizer,
  ) {
    const { grammar, start } = schemaGrammar(schema);
    this.grammar = grammar;
    this.state = start;
  }

  /** Whether the value is complete, and nothing can be added to it. */
  get finished(): boolean {
    return mustEnd(this.state);
  }

  accepts(token: number): boolean {
    if (this.tokenizer.end.has(token)) return mayEnd(this.state);
    const after = this.after(token);
    return after !== undefined && after.size > 0;
  }

  /** Appends a token. @throws InputError for one that is not accepted */
  push(token: number): void {
    if (this.tokenizer.end.has(token)) return;
    const after = this.after(token);
    if (!after?.size) throw new InputError("generate: no token of the vocabulary continues the JSON text");
    this.state = after;
  }

  restrict(logits: Float32Array): void {
    const allowed = this.allowed();
    const kept = Float32Array.from(allowed, (t) => logits[t] ?? Number.NEGATIVE_INFINITY);
    const ends = mayEnd(this.state) ? [...this.tokenizer.end].map((t) => [t, logits[t]] as const) : [];
    logits.fill(Number.NEGATIVE_INFINITY);
    allowed.forEach((t, i) => {
      logits[t] = kept[i];
    });
    for (const [t, logit] of ends) logits[t] = logit;
  }

  private after(token: number): GrammarState | undefined {
    const bytes = this.tokenizer.bytes(token);
    if (bytes.length === 0) return undefined;
    let state = this.state;
    for (let i = 0; i < bytes.length && state.size > 0; i++) state = this.grammar.next(state, bytes[i]);
    return state;
  }

  private allowed(): Int32Array {
    const key = stateKey(this.state);
    let set = this.sets.get(key);
    if (!set) {
      const tokens: number[] = [];
      this.collect(trieOf(this.tokenizer), this.state, tokens);
      if (this.sets.size >= keptSets) this.sets.clear();
      this.sets.set(key, (set = Int32Array.from(tokens)));
    }
    return set;
  }

  private collect(trie: Trie, state: GrammarState, out: number[]): void {
    for (const [byte, child] of trie.children) {
      const after = this.grammar.next(state, byte);
      if (after.size === 0) continue;
      for (const t of child.tokens) out.push(t);
      this.collect(child, after, out);
    }
  }
}

function trieOf(tokenizer: Tokenizer): Trie {
  const known = tries.get(tokenizer);
  if (known) return known;
  const root: Trie = { children: new Map(), tokens: [] };
  for (let token = 0; token < tokenizer.size; token++) {
    if (tokenizer.end.has(token)) continue;
    let node = root;
    const bytes = tokenizer.bytes(token);
    for (const byte of bytes) {
      let child = node.children.get(byte);
      if (!child) node.children.set(byte, (child = { children: new Map(), tokens: [] }));
      node = child;
    }
    if (bytes.length > 0) node.tokens.push(token);
  }
  tries.set(tokenizer, root);
  return root;
}
