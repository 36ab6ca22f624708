/** The shape of SmolLM-135M with the vocabulary of Llama 2. */
export const llama = {
  width: 576,
  layers: 30,
  heads: 9,
  kvHeads: 3,
  hidden: 1536,
  vocabulary: 32_000,
  context: 2048,
} as const;

export type LlamaShape = Readonly<Record<keyof typeof llama, number>>;

/** About as many weights in rows that k-quants can have, of whole blocks of 256. */
export const llamaForK: LlamaShape = { ...llama, width: 768, layers: 16, heads: 12, kvHeads: 4, hidden: 2048 };
