/** Every public operator, one line each. */
export { reshape } from "./reshape.ts";
export { softmax } from "./softmax.ts";
