/** Matrix products, f32: square, and few rows times a large matrix. */
import { smallTask, type Task } from "../task.ts";
import { measureAll, type Workload } from "./workload.ts";

const squares = [128, 256, 512, 1024, 2048];
const rows = [1, 4, 32];
const wide = 1024;

/** With a constant B, or two inputs. */
export function product(
  name: string,
  [m, k, n]: readonly number[],
  constant: boolean,
  options: Pick<Parameters<typeof smallTask>[4] & object, "dtype" | "tolerance"> = {},
): Task {
  const inputs: Record<string, number[]> = constant ? { a: [m, k] } : { a: [m, k], b: [k, n] };
  return smallTask(
    name,
    2 * m * k * n,
    inputs,
    (model) => ({ output: model.node("MatMul", ["a", constant ? model.weights([k, n], k) : "b"]), shape: [m, n] }),
    { ...options, product: { m, k, n } },
  );
}

export const gemm: Workload = {
  name: "gemm",
  title: "Matrix product f32, m x k x n; B a constant of the model, or an input",
  async run(context) {
    const sizes = [...squares.map((n) => [n, n, n]), ...rows.map((m) => [m, wide, wide])];
    const tasks = [true, false].flatMap((constant) =>
      sizes.map((size) => {
        const name = `${size.join("x")} ${constant ? "constant" : "input"} B`;
        return { name, make: () => product(name, size, constant) };
      }),
    );
    await measureAll(tasks, await context.openEngines(), context);
  },
};
