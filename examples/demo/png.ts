/** PNG files as the tensors that image models take. */
import { readFile } from "node:fs/promises";
import { decode } from "fast-png";
import type { HostTensor } from "../../src/index.ts";
import type { Pixels } from "../../src/tasks/index.ts";

export interface Picture {
  /** f32 [1, channels, height, width], 0 to 1. */
  readonly tensor: HostTensor;
  readonly width: number;
  readonly height: number;
}

/** The pixels of a PNG file of 8 bits a channel. */
export async function readPixels(path: string): Promise<Pixels> {
  const { width, height, data, depth } = decode(await readFile(path));
  if (depth !== 8) throw new Error(`${path}: ${depth} bits a channel`);
  return { width, height, data: data as Uint8Array };
}

/** Reads a PNG of 8 bits a channel as greyscale (1) or RGB (3). Alpha is dropped. */
export async function readPng(path: string, channels: 1 | 3): Promise<Picture> {
  const { width, height, data, depth, channels: stored } = decode(await readFile(path));
  if (depth !== 8 || stored < channels) throw new Error(`${path}: ${stored} channels of ${depth} bits`);
  const plane = width * height;
  const pixels = new Float32Array(channels * plane);
  // From pixel by pixel (HWC) to channel by channel (CHW).
  for (let c = 0; c < channels; c++) for (let i = 0; i < plane; i++) pixels[c * plane + i] = data[i * stored + c] / 255;
  return { tensor: { dtype: "f32", shape: [1, channels, height, width], data: pixels }, width, height };
}

/** The picture in characters, `columns` wide and half as many lines; the first channel's brightness. */
export function thumbnail({ tensor, width, height }: Picture, columns: number): string[] {
  const pixels = tensor.data as Float32Array;
  const lines = columns / 2;
  const cellWidth = width / columns;
  const cellHeight = height / lines;
  return Array.from({ length: lines }, (_, r) =>
    Array.from({ length: columns }, (_, c) => {
      let sum = 0;
      let count = 0;
      for (let y = Math.floor(r * cellHeight); y < (r + 1) * cellHeight; y++)
        for (let x = Math.floor(c * cellWidth); x < (c + 1) * cellWidth; x++, count++) sum += pixels[y * width + x];
      return " ░▒▓█"[Math.min(4, Math.floor((sum / count) * 5.5))];
    }).join(""),
  );
}
