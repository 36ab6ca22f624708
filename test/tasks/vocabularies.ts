/** Small vocabularies of both kinds. */
import type { PieceKind } from "../../src/formats/decoder/vocabulary.ts";
import { ByteLevelTokenizer, byteOf } from "../../src/tasks/tokenizers/byte-level.ts";
import { SentencePieceTokenizer } from "../../src/tasks/tokenizers/sentencepiece.ts";

/** Stand-ins of the 256 bytes, in their order. */
export const byteLevelPieces: readonly string[] = [...byteOf.entries()].sort((a, b) => a[1] - b[1]).map(([c]) => c);

/** @param more pieces besides its own */
export function byteLevel(pattern: string, more: readonly string[] = []): ByteLevelTokenizer {
  const words = ["th", "he", "the", " the", "in", "ing", ...more];
  const encoder = new TextEncoder();
  const symbols = (word: string): string[] => Array.from(encoder.encode(word), (b) => byteLevelPieces[b]);
  const merged = new Set<string>();
  const merges: string[] = [];
  for (const word of words) {
    const s = symbols(word);
    for (let n = 2; n <= s.length; n++) {
      const [left, right] = [s.slice(0, n - 1).join(""), s[n - 1]];
      if (!merged.has(left + right)) merges.push(`${left} ${right}`);
      merged.add(left + right);
    }
  }
  const pieces = [...byteLevelPieces, ...merged, "<|end|>", "<tool>"];
  const kinds = pieces.map(
    (_, i): PieceKind => (i < pieces.length - 2 ? "normal" : i < pieces.length - 1 ? "control" : "user"),
  );
  return new ByteLevelTokenizer({ pieces, kinds, merges, pattern, end: [pieces.length - 2] });
}

export function sentencePiece(): SentencePieceTokenizer {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const words = ["▁", "a", "b", "▁a", "ab", "▁ab", "e", "l", "o", "H", "He", "ll", "llo"];
  const pieces = ["<unk>", "<s>", "</s>", ...bytes, ...words];
  const special: PieceKind[] = ["unknown", "control", "control"];
  return new SentencePieceTokenizer({
    pieces,
    scores: pieces.map((_, i) => -i),
    kinds: pieces.map((_, i) => special[i] ?? (i < 259 ? "byte" : "normal")),
    begin: 1,
    end: [2],
    unknown: 0,
  });
}
