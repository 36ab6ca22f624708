/** The models by name, with the shapes of their input `x`. */
import { bert } from "./bert.ts";
import { densenet, inception, resnet50, shufflenet, squeezenet } from "./cnn.ts";

export const models: Readonly<Record<string, { make: () => Uint8Array; shape: readonly number[] }>> = {
  squeezenet: { make: squeezenet, shape: [1, 3, 224, 224] },
  shufflenet: { make: shufflenet, shape: [1, 3, 224, 224] },
  inception: { make: inception, shape: [1, 3, 224, 224] },
  densenet: { make: densenet, shape: [1, 3, 224, 224] },
  resnet50: { make: resnet50, shape: [1, 3, 224, 224] },
  "squeezenet-int8": { make: () => squeezenet(1, true), shape: [1, 3, 224, 224] },
  "resnet50-int8": { make: () => resnet50(5, true), shape: [1, 3, 224, 224] },
  bert: { make: bert, shape: [1, 128, 768] },
};
