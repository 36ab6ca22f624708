import type { Generation } from "./generation.ts";

/** Tokens after the first, per second. */
export const tokensPerSecond = (g: Generation): number =>
  g.tokens.length > 1 ? ((g.tokens.length - 1) / g.decodeMs) * 1000 : 0;
