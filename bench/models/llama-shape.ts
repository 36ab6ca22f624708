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
