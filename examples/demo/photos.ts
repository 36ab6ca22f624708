/** A small ResNet says what is on a photo. */
import { readdir } from "node:fs/promises";
import { modelPath, readGolden, readJson } from "./golden.ts";
import { readPng } from "./png.ts";
import { bar, ms, percent, styled, table } from "./print.ts";
import { open, type Section, timed } from "./section.ts";
import { best, probabilities } from "./softmax.ts";

const folder = "cifar10-cnn/samples";
/** `cifar10-test-<row of the test data>-<class>.png` */
const rowOf = (file: string): number => Number(file.split("-")[2]);
const classOf = (file: string): string => file.split("-")[3].replace(".png", "");

export const photos: Section = {
  title: "What is on this photo?",
  about: "32 x 32 pixels of a PNG file -> ResNet -> 10 classes",
  async run(device, check) {
    const session = await open(modelPath("cifar10-cnn/model.onnx"), "cifar10-cnn", device);
    const golden = await readGolden("cifar10-cnn");
    const labels = await readJson<string[]>(modelPath("cifar10-cnn/labels.json"));
    const files = (await readdir(modelPath(folder))).sort((a, b) => rowOf(a) - rowOf(b));
    const pictures = await Promise.all(files.map((f) => readPng(modelPath(`${folder}/${f}`), 3)));
    await session.run({ image: pictures[0].tensor });
    const print = table([
      { title: "file", width: 29 },
      { title: "class", width: 10 },
      { title: "", width: 6, right: true },
      { title: "", width: 10 },
      { title: "time", width: 8, right: true },
    ]);
    for (const [i, file] of files.entries()) {
      const [{ logits }, time] = await timed(() => session.run({ image: pictures[i].tensor }));
      check.compare(logits.data as Float32Array, golden.get(rowOf(file))?.logits);
      const p = probabilities(logits.data as Float32Array);
      const label = labels[best(p)];
      const confidence = Math.max(...p);
      const shown = { plain: " ".repeat(10), shown: bar(confidence, 10) };
      print(file, styled(label === classOf(file) ? "green" : "red", label), percent(confidence), shown, ms(time));
    }
    session.dispose();
  },
};
