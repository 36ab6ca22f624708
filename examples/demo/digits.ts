/** An MLP and a CNN read handwritten digits from PNG files. */
import { readdir } from "node:fs/promises";
import type { Session } from "../../src/index.ts";
import { type Check, modelPath, readGolden } from "./golden.ts";
import { type Picture, readPng, thumbnail } from "./png.ts";
import { ms, percent, say, styled, table } from "./print.ts";
import { open, type Section, timed } from "./section.ts";
import { best, probabilities } from "./softmax.ts";

const folder = "mnist-cnn/samples";
/** `mnist-t10k-<row of the test data>-<digit>.png` */
const rowOf = (file: string): number => Number(file.split("-")[2]);
const digitOf = (file: string): string => file.split("-")[3].replace(".png", "");

export const digits: Section = {
  title: "Which digit is this?",
  about: "28 x 28 pixels of a PNG file -> MLP, CNN -> 0 to 9",
  async run(device, check) {
    const mlp = await open(modelPath("mnist-mlp/model.onnx"), "mnist-mlp", device);
    const cnn = await open(modelPath("mnist-cnn/model.onnx"), "mnist-cnn", device);
    const golden = { mlp: await readGolden("mnist-mlp"), cnn: await readGolden("mnist-cnn") };
    const files = (await readdir(modelPath(folder))).sort((a, b) => rowOf(a) - rowOf(b));
    const pictures = await Promise.all(files.map((f) => readPng(modelPath(`${folder}/${f}`), 1)));
    for (const session of [mlp, cnn]) await session.run({ image: pictures[0].tensor });
    gallery(pictures.slice(0, 5));
    const print = table([
      { title: "file", width: 21 },
      { title: "MLP", width: 9 },
      { title: "time", width: 8, right: true },
      { title: "CNN", width: 9 },
      { title: "time", width: 8, right: true },
      { title: "in fact", width: 7 },
    ]);
    for (const [i, file] of files.entries()) {
      const cells: (string | { plain: string; shown: string })[] = [file];
      for (const [session, expected] of [
        [mlp, golden.mlp],
        [cnn, golden.cnn],
      ] as const) {
        const { digit, p, time } = await read(session, pictures[i], check, expected.get(rowOf(file))?.logits);
        const text = `${digit} ${percent(p)}`;
        cells.push(styled(String(digit) === digitOf(file) ? "green" : "red", text), ms(time));
      }
      print(...cells, digitOf(file));
    }
    mlp.dispose();
    cnn.dispose();
  },
};

async function read(session: Session, picture: Picture, check: Check, want: readonly number[] | undefined) {
  const [{ logits }, time] = await timed(() => session.run({ image: picture.tensor }));
  check.compare(logits.data as Float32Array, want);
  const p = probabilities(logits.data as Float32Array);
  return { digit: best(p), p: Math.max(...p), time };
}

/** Side by side. */
function gallery(pictures: readonly Picture[]): void {
  const drawn = pictures.map((p) => thumbnail(p, 14));
  say();
  for (let line = 0; line < drawn[0].length; line++) say(`  ${drawn.map((d) => d[line]).join(" ")}`.trimEnd());
}
