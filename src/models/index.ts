/** Graph builders over named weights: `forwardpass/models`. */
export { type CnnConfig, lenet, resnet } from "./cnn.ts";
export { type MlpConfig, mlp } from "./mlp.ts";
export type { Weights } from "./weights.ts";
