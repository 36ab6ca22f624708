/** SentencePiece's `.model` files (sentencepiece_model.proto), as GGUF's metadata has what is in them. */
import { readFileSync } from "node:fs";
import { PbfReader } from "pbf";
import type { PieceKind, UnigramVocabulary } from "../../src/formats/decoder/vocabulary.ts";

const kinds: readonly PieceKind[] = ["normal", "normal", "unknown", "control", "user", "unused", "byte"];

export function readUnigramModel(path: string): UnigramVocabulary {
  const pieces: string[] = [];
  const scores: number[] = [];
  const pieceKinds: PieceKind[] = [];
  let charsmap: Uint8Array | undefined;
  let [addSpace, collapseSpaces] = [true, true];
  new PbfReader(readFileSync(path)).readFields((field, _, pbf) => {
    if (field === 1) {
      const piece = pbf.readMessage(
        (tag: number, p: { text: string; score: number; type: number }, q: PbfReader) => {
          if (tag === 1) p.text = q.readString();
          else if (tag === 2) p.score = q.readFloat();
          else if (tag === 3) p.type = q.readVarint();
        },
        { text: "", score: 0, type: 1 },
      );
      pieces.push(piece.text);
      scores.push(piece.score);
      pieceKinds.push(kinds[piece.type]);
    } else if (field === 3)
      pbf.readMessage((tag: number, _r: undefined, q: PbfReader) => {
        if (tag === 2) charsmap = q.readBytes().slice();
        else if (tag === 3) addSpace = q.readVarint() !== 0;
        else if (tag === 4) collapseSpaces = q.readVarint() !== 0;
      }, undefined);
  }, undefined);
  const id = (name: string): number => pieces.indexOf(name);
  return {
    kind: "unigram",
    pieces,
    scores,
    kinds: pieceKinds,
    begin: id("<s>"),
    end: [id("</s>")],
    unknown: pieceKinds.indexOf("unknown"),
    charsmap,
    addSpace,
    collapseSpaces,
    addBegin: false,
    addEnd: false,
  };
}
