/** A page with tasks, as users bundle one: it hands over the optional packages that are in its bundle. */
import { providePeer } from "../../src/index.ts";
import { readImage } from "../../src/tasks/image/image.ts";
import {
  type Drawable,
  embeddings,
  type ImageInput,
  imageClassification,
  textGeneration,
} from "../../src/tasks/index.ts";

export const app = {
  async provide(): Promise<void> {
    providePeer("@huggingface/tokenizers", await import("@huggingface/tokenizers"));
    providePeer("@huggingface/jinja", await import("@huggingface/jinja"));
  },

  /** The vector of a text, by the folder under this path. */
  async embed(path: string, text: string): Promise<number[]> {
    using model = await embeddings(new URL(path, location.href));
    return [...(await model.embed(text))];
  },

  /** The likeliest answer of the file under this path, as it streams. */
  async chat(path: string, content: string): Promise<string[]> {
    using model = await textGeneration(path);
    const pieces: string[] = [];
    for await (const piece of model.stream([{ role: "user", content }], { temperature: 0, maxTokens: 12 }))
      pieces.push(piece);
    return pieces;
  },

  /** What the model under this path sees on a picture that is given in each way that pages have. */
  async classify(path: string, picture: string): Promise<Record<string, { label: string; score: number }>> {
    using model = await imageClassification(new URL(path, location.href));
    const blob = await (await fetch(picture)).blob();
    const img = new Image();
    img.src = picture;
    await img.decode();
    const drawn = <T extends HTMLCanvasElement | OffscreenCanvas>(canvas: T): T => {
      const context = canvas.getContext("2d") as CanvasRenderingContext2D;
      context.drawImage(img, 0, 0);
      return canvas;
    };
    const { naturalWidth: width, naturalHeight: height } = img;
    const bitmap = await createImageBitmap(img);
    const ways: Record<string, ImageInput> = {
      path: picture,
      URL: new URL(picture, location.href),
      Response: await fetch(picture),
      Blob: blob,
      File: new File([blob], "picture"),
      bytes: new Uint8Array(await blob.arrayBuffer()),
      img,
      canvas: drawn(Object.assign(document.createElement("canvas"), { width, height })),
      OffscreenCanvas: drawn(new OffscreenCanvas(width, height)),
      ImageBitmap: bitmap,
      VideoFrame: new VideoFrame(bitmap, { timestamp: 0 }),
    };
    const seen: Record<string, { label: string; score: number }> = {};
    for (const [way, given] of Object.entries(ways)) [seen[way]] = await model.classify(given);
    return seen;
  },

  /** Red, green and blue of the picture in these bytes, or the error. */
  async colours(bytes: number[]): Promise<{ width: number; height: number; rgb: number[] }> {
    const { width, height, data } = await readImage(Uint8Array.from(bytes));
    return { width, height, rgb: [...data].filter((_, i) => i % 4 !== 3) };
  },

  /** What is said of things that have no picture. */
  async refused(): Promise<string[]> {
    const unusable: (Drawable | object)[] = [new Image(), new OffscreenCanvas(0, 0), document.body];
    const bytes = new TextEncoder().encode("no picture");
    const errorOf = (e: Error) => `${e.name}: ${e.message}`;
    return Promise.all([...unusable, bytes].map((v) => readImage(v as ImageInput).then(String, errorOf)));
  },
};
Object.assign(globalThis, { app });
