/** LSTM and GRU: sequences by input width -> hidden units, as speech models and recognisers of text have them. */
import { smallTask, type Task } from "../task.ts";
import { measureAll, type Workload } from "./workload.ts";

interface Sizes {
  readonly seq: number;
  readonly batch: number;
  readonly input: number;
  readonly hidden: number;
}

const gatesOf = { LSTM: 4, GRU: 3 } as const;

function recurrentTask(
  type: keyof typeof gatesOf,
  { seq, batch, input, hidden }: Sizes,
  direction: "forward" | "bidirectional",
  attributes: Record<string, number> = {},
): Task {
  const rows = gatesOf[type] * hidden;
  const directions = direction === "forward" ? 1 : 2;
  const flop = 2 * seq * batch * directions * rows * (input + hidden);
  const how = [type.toLowerCase(), ...(directions > 1 ? [direction] : []), ...Object.keys(attributes)].join(" ");
  return smallTask(`${how} ${seq}x${batch}x${input}->${hidden}`, flop, { x: [seq, batch, input] }, (model) => {
    // Larger weights make the recurrence chaotic: a bit's difference is then a different answer after 100 steps.
    const weights = (...shape: number[]) => model.around([directions, ...shape], 0, 1 / Math.sqrt(hidden));
    const operands = ["x", weights(rows, input), weights(rows, hidden), weights(2 * rows)];
    const output = model.node(type, operands, { hidden_size: hidden, direction, ...attributes });
    return { output, shape: [seq, directions, batch, hidden] };
  });
}

const tasks: readonly Task[] = [1, 32].flatMap((batch) => [
  recurrentTask("LSTM", { seq: 100, batch, input: 128, hidden: 256 }, "forward"),
  recurrentTask("LSTM", { seq: 100, batch, input: 64, hidden: 128 }, "bidirectional"),
  recurrentTask("GRU", { seq: 100, batch, input: 128, hidden: 256 }, "forward"),
  recurrentTask("GRU", { seq: 100, batch, input: 64, hidden: 128 }, "bidirectional", { linear_before_reset: 1 }),
]);

export const recurrent: Workload = {
  name: "recurrent",
  title: "LSTM and GRU f32, steps x batch x input -> hidden units",
  async run(context) {
    // A step of a voice detector that keeps its state itself.
    const step = recurrentTask("LSTM", { seq: 1, batch: 1, input: 128, hidden: 128 }, "forward");
    const all = [step, ...tasks].map((task) => ({ name: task.name, flop: task.flop, make: () => task }));
    await measureAll(all, await context.openEngines(), context);
  },
};
