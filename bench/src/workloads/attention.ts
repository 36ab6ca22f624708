/** Scaled dot-product attention as exporters write it: MatMul, Mul, Softmax, MatMul; 12 heads of 64, batch 1. */
import { smallTask, type Task } from "../task.ts";
import { measureAll, type Workload } from "./workload.ts";

const heads = 12;
const width = 64;

function attentionTask(name: string, seq: number): Task {
  const shape = [1, heads, seq, width];
  return smallTask(name, 4 * heads * seq * seq * width, { q: shape, k: shape, v: shape }, (model) => {
    const turned = model.node("Transpose", ["k"], { perm: [0, 1, 3, 2] });
    const scores = model.node("Mul", [model.node("MatMul", ["q", turned]), model.around([], 1 / Math.sqrt(width), 0)]);
    return { output: model.node("MatMul", [model.node("Softmax", [scores], { axis: -1 }), "v"]), shape };
  });
}

export const attention: Workload = {
  name: "attention",
  title: `Attention f32, ${heads} heads of ${width}, batch 1`,
  async run(context) {
    const tasks = [128, 256, 512, 1024, 2048].map((seq) => {
      const name = `seq ${seq}`;
      return { name, make: () => attentionTask(name, seq) };
    });
    await measureAll(tasks, await context.openEngines(), context);
  },
};
