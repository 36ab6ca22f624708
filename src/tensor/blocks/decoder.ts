import { f16Table } from "../float.ts";

/** Decodes the block at bytes[at] into out[o]. */
export type BlockDecoder = (bytes: Uint8Array, at: number, out: Float32Array, o: number) => void;

/** The f16 at bytes[at]. */
export const f16At = (bytes: Uint8Array, at: number): number => f16Table()[bytes[at] | (bytes[at + 1] << 8)];
