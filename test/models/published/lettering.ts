/** An image with words in it, the same on every machine: letters are strokes, so that no font is needed. */
import sharp from "sharp";

/** Strokes on a grid 4 wide and 6 high. */
const letters: Readonly<Record<string, string>> = {
  A: "M0 6L2 0L4 6M0.7 4H3.3",
  D: "M0 0H2.5L4 1.5V4.5L2.5 6H0Z",
  F: "M4 0H0V6M0 3H3",
  O: "M1 0H3L4 1V5L3 6H1L0 5V1Z",
  P: "M0 6V0H3L4 1V2L3 3H0",
  R: "M0 6V0H3L4 1V2L3 3H0M2 3L4 6",
  S: "M4 1L3 0H1L0 1V2L1 3H3L4 4V5L3 6H1L0 5",
  W: "M0 0L1 6L2 1L3 6L4 0",
};

export interface Word {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  /** Pixels of a grid unit. */
  readonly scale: number;
}

/** Black words on white, as PNG. */
export function lettering(words: readonly Word[], width: number, height: number): Promise<Uint8Array> {
  const paths = words.flatMap(({ text, x, y, scale }) =>
    Array.from(text, (c, i) => {
      const at = `translate(${x + i * scale * 6} ${y}) scale(${scale})`;
      return `<path transform="${at}" d="${letters[c]}" fill="none" stroke="black" stroke-width="0.9"/>`;
    }),
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="white"/>${paths.join("")}</svg>`;
  return sharp(Buffer.from(svg)).png().toBuffer();
}

/** A rectangle of pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** [1, 3, height, width] of a box of an image, scaled to that size: (pixel / 255 - mean) / deviation by channel. */
export async function pixels(
  png: Uint8Array,
  box: Box,
  [height, width]: readonly [number, number],
  mean: readonly number[],
  deviation: readonly number[],
  turn = 0,
) {
  const cut = await sharp(png).extract(box).removeAlpha().png().toBuffer();
  const raw = await sharp(cut).rotate(turn).resize(width, height, { fit: "fill" }).raw().toBuffer();
  const plane = width * height;
  const data = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < 3; c++) data[c * plane + i] = (raw[3 * i + c] / 255 - mean[c]) / deviation[c];
  return { dtype: "f32", shape: [1, 3, height, width], data } as const;
}
