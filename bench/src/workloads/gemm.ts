/** Matrix products, f32: square, and few rows times a large matrix. */
import { openEngines } from "../engines/index.ts";
import { smallTask, type Task } from "../task.ts";
import { measureAll, type Workload } from "./workload.ts";

const squares = [128, 256, 512, 1024, 2048];
const rows = [1, 4, 32];
const wide = 1024;

function product(name: string, m: number, k: number, n: number, constant: boolean): Task {
  const inputs: Record<string, number[]> = constant ? { a: [m, k] } : { a: [m, k], b: [k, n] };
  return smallTask(
    name,
    2 * m * k * n,
    inputs,
    (model) => ({ output: model.node("MatMul", ["a", constant ? model.weights([k, n], k) : "b"]), shape: [m, n] }),
    { m, k, n },
  );
}

export const gemm: Workload = {
  name: "gemm",
  title: "Matrix product f32, m x k x n; B a constant of the model, or an input",
  async run(context) {
    const sizes = [...squares.map((n) => [n, n, n]), ...rows.map((m) => [m, wide, wide])];
    const tasks = [true, false].flatMap((constant) =>
      sizes.map(([m, k, n]) => {
        const name = `${m}x${k}x${n} ${constant ? "constant" : "input"} B`;
        return { name, make: () => product(name, m, k, n, constant) };
      }),
    );
    await measureAll(tasks, await openEngines(context), context);
  },
};
