/** A small ResNet says what is on a photo. */
import { readdir } from "node:fs/promises";
import { imageClassification } from "../../src/tasks/index.ts";
import { logitsOf, modelPath, readGolden } from "./golden.ts";
import { readPixels } from "./png.ts";
import { bar, ms, percent, styled, table } from "./print.ts";
import { announced, type Section, timed } from "./section.ts";

const folder = "cifar10-cnn/samples";
/** `cifar10-test-<row of the test data>-<class>.png` */
const rowOf = (file: string): number => Number(file.split("-")[2]);
const classOf = (file: string): string => file.split("-")[3].replace(".png", "");

export const photos: Section = {
  title: "What is on this photo?",
  about: "32 x 32 pixels of a PNG file -> ResNet -> 10 classes",
  async run(device, check) {
    const path = modelPath("cifar10-cnn/model.onnx");
    using model = await announced(path, "cifar10-cnn", () => imageClassification(path, { device }));
    const golden = await readGolden("cifar10-cnn");
    const files = (await readdir(modelPath(folder))).sort((a, b) => rowOf(a) - rowOf(b));
    const pictures = await Promise.all(files.map((f) => readPixels(modelPath(`${folder}/${f}`))));
    await model.classify(pictures[0]);
    const print = table([
      { title: "file", width: 29 },
      { title: "class", width: 10 },
      { title: "", width: 6, right: true },
      { title: "", width: 10 },
      { title: "time", width: 8, right: true },
    ]);
    for (const [i, file] of files.entries()) {
      const [scores, time] = await timed(() => model.classify(pictures[i]));
      check.compare(logitsOf(scores), golden.get(rowOf(file))?.logits);
      const [{ label, score }] = scores;
      const shown = { plain: " ".repeat(10), shown: bar(score, 10) };
      print(file, styled(label === classOf(file) ? "green" : "red", label), percent(score), shown, ms(time));
    }
  },
};
