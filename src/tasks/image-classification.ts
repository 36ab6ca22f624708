/** Image classification: what is on a picture. */

import type { SourceInput } from "../formats/source.ts";
import type { Session } from "../graph/session.ts";
import { symbolDispose } from "../tensor/dispose.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";
import {
  checkClassOptions,
  type LabelScore,
  labelsBeside,
  logitsOf,
  numbered,
  ranked,
  type Scoring,
  scoringOf,
} from "./classes.ts";
import { type ImageInput, type ImageLayout, imageTensor, layoutOf, readImage } from "./image/image.ts";
import { checkPreparation, type FullPreparation, type ImagePreparation, preparationIn } from "./image/preparation.ts";
import { openGraphOf } from "./onnx-model.ts";
import {
  checkOptions,
  type OptionNames,
  type SignalOptions,
  signalOptions,
  type TaskOptions,
  taskOptions,
} from "./options.ts";

export interface ImageClassificationOptions extends TaskOptions, ImagePreparation {
  /** Names of the classes in order. Default: `id2label` of `config.json`, or `labels.json`, beside the model. */
  labels?: readonly string[];
  /** Default: what the end of the graph asks for, and `problem_type` of `config.json`. */
  scoring?: Scoring;
}

const loadOptions: OptionNames<ImageClassificationOptions> = {
  ...taskOptions,
  mean: true,
  std: true,
  size: true,
  crop: true,
  labels: true,
  scoring: true,
};

/** See `index.ts`. */
export async function imageClassification(
  model: SourceInput,
  options: ImageClassificationOptions = {},
): Promise<ImageClassifier> {
  checkOptions("imageClassification", options, loadOptions);
  checkClassOptions("imageClassification", options);
  checkPreparation(options);
  const opened = await openGraphOf(model, options);
  const { session, folder } = opened;
  try {
    const config = await folder.optionalJson("config.json");
    const channels = config?.["num_channels"];
    const layout = layoutOf(session.inputs[0], typeof channels === "number" ? channels : undefined);
    const beside = preparationIn(await folder.optionalJson("preprocessor_config.json"), layout.channels);
    const { mean = beside.mean, std = beside.std, size, crop } = options;
    const preparation = { ...beside, mean, std, size, crop };
    checkPreparation(preparation, layout.channels);
    return new ImageClassifier(session, layout, {
      preparation,
      labels: options.labels ?? (await labelsBeside(folder, config)),
      scoring: (output, classes) => options.scoring ?? scoringOf(session, output, classes, config),
    });
  } catch (e) {
    session.dispose();
    throw e;
  }
}

interface ClassifierSetup {
  preparation: FullPreparation;
  labels?: readonly string[];
  scoring(output: string, classes: number): Scoring;
}

export class ImageClassifier {
  constructor(
    readonly session: Session,
    private readonly layout: ImageLayout,
    private readonly setup: ClassifierSetup,
  ) {
    if (session.inputs.length !== 1)
      throw new UnsupportedOpError(`a classifier takes one image, not ${session.inputs.map((p) => p.name).join(", ")}`);
  }

  /**
   * All classes, the likeliest first.
   * @throws FormatError for a file that is no image, MissingPeerError for one that needs `sharp`, InputError for pixels that
   * do not fill their size, an image that is not to be resized and does not fit, or labels that do not, UnsupportedOpError for
   * outputs that are no scores of classes, the signal's reason when aborted
   */
  async classify(image: ImageInput, options: SignalOptions = {}): Promise<LabelScore[]> {
    checkOptions("classify", options, signalOptions);
    const { session, layout, setup } = this;
    const pixels = await readImage(image, options);
    const input = imageTensor(pixels, layout, setup.preparation);
    const outputs = await session.run({ [session.inputs[0].name]: input }, options);
    // Graphs may give the features that they judge by as well.
    const { name } = session.outputs.find((p) => p.name === "logits") ?? session.outputs[0];
    const logits = logitsOf(name, outputs[name]);
    return ranked(logits, setup.labels ?? numbered(logits.length), setup.scoring(name, logits.length));
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}
