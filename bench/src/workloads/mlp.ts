/** A small MLP, 30-64-64-1: the shape of models that score rows. */
import { smallTask, type Task } from "../task.ts";

export function mlpTask(): Task {
  const sizes = [30, 64, 64, 1];
  return smallTask("MLP 30-64-64-1, batch 1", 0, { x: [1, 30] }, (model) => {
    let x = "x";
    for (let i = 1; i < sizes.length; i++) {
      const weights = model.weights([sizes[i], sizes[i - 1]], sizes[i - 1]);
      const y = model.node("Gemm", [x, weights, model.around([sizes[i]], 0, 0.1)], { transB: 1 });
      x = model.node(i === sizes.length - 1 ? "Sigmoid" : "Relu", [y]);
    }
    return { output: x, shape: [1, 1] };
  });
}
