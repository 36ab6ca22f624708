/** `forwardpass run`: a model on inputs from files. */
import type { Session } from "../graph/session.ts";
import { toF64 } from "../tensor/convert.ts";
import { isFloat } from "../tensor/dtype.ts";
import { formatType } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { type Arguments, type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { readTensor } from "./files.ts";
import { loadModel, outputOption } from "./model.ts";
import { formatMs, printable } from "./progress.ts";
import { typeText } from "./shapes.ts";

export const run: Command = {
  name: "run",
  summary: "run a model on inputs from files and print its outputs",
  usage: "MODEL --input NAME=FILE [--input NAME=FILE ...] [options]",
  options: {
    input: {
      type: "string",
      short: "i",
      multiple: true,
      value: "NAME=FILE",
      help: "an input from a .npy, .json, .pb or image file; NAME= may be left out if there is one input",
    },
    output: outputOption,
    ...deviceOptions,
    json: { type: "boolean", help: "print the outputs as JSON, every element" },
  },
  examples: ["forwardpass run mnist.onnx --input digit.png", "forwardpass run fraud.onnx -i features=row.json --json"],
  async run(args, io) {
    const model = await loadModel(positional(args, 0, "MODEL"), args, io);
    try {
      const inputs = await readInputs(model, args);
      const missing = model.graph.inputs.filter((p) => !p.default && !inputs[p.name]);
      if (missing.length)
        throw new UsageError(
          `the model needs ${missing.map((p) => `--input ${p.name}=FILE (${typeText(p)})`).join(", ")}`,
        );
      const started = performance.now();
      const outputs = await model.run(inputs);
      const ms = performance.now() - started;
      if (args.options["json"]) io.stdout.write(`${JSON.stringify(jsonOf(outputs))}\n`);
      else {
        for (const [name, t] of Object.entries(outputs))
          io.stdout.write(printable(`${name}: ${formatType(t)}\n${summaryOf(t)}\n`));
        io.stderr.write(`${formatMs(ms)} on ${model.device.name}\n`);
      }
    } finally {
      model.dispose();
    }
    return 0;
  },
};

export async function readInputs(model: Session, args: Arguments): Promise<Record<string, HostTensor>> {
  const inputs: Record<string, HostTensor> = {};
  for (const given of (args.options["input"] ?? []) as string[]) {
    const equals = given.indexOf("=");
    const name = equals < 0 && model.inputs.length === 1 ? model.inputs[0].name : given.slice(0, Math.max(0, equals));
    const port = model.inputs.find((p) => p.name === name);
    if (!port)
      throw new UsageError(`--input ${given}: the model's inputs are ${model.inputs.map((p) => p.name).join(", ")}`);
    if (Object.hasOwn(inputs, name)) throw new UsageError(`--input ${given}: "${name}" is given twice`);
    const path = given.slice(equals + 1);
    if (path === "") throw new UsageError(`--input ${given}: a file is missing, as in NAME=FILE`);
    inputs[name] = await readTensor(path, port);
  }
  return inputs;
}

/** JSON has no NaN, infinities or integers beyond 2^53: they become strings. */
const plain = (v: number | bigint | string): number | string => {
  if (typeof v === "bigint") return Number.isSafeInteger(Number(v)) ? Number(v) : String(v);
  return typeof v === "number" && !Number.isFinite(v) ? String(v) : v;
};

function jsonOf(outputs: Record<string, HostTensor>): unknown {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, t]) => [
      name,
      {
        dtype: t.dtype,
        shape: t.shape,
        data: isFloat(t.dtype) ? Array.from(toF64(t), plain) : Array.from(t.data as string[], plain),
      },
    ]),
  );
}

/** The whole of a small tensor; of a large one its beginning, and the largest elements by index. */
function summaryOf(t: HostTensor): string {
  if (Array.isArray(t.data))
    return `  ${t.data
      .slice(0, 16)
      .map((s) => JSON.stringify(s))
      .join(" ")}`;
  const values = toF64(t);
  const format = (v: number): string => (isFloat(t.dtype) ? String(Number(v.toPrecision(6))) : String(v));
  if (values.length <= 32) return `  ${Array.from(values, format).join(" ")}`;
  const top = Array.from(values, (v, i) => ({ v, i }))
    .sort((a, b) => b.v - a.v)
    .slice(0, 5);
  const lines = [`  ${Array.from(values.subarray(0, 8), format).join(" ")} ... (${values.length} elements)`];
  lines.push(`  largest: ${top.map(({ v, i }) => `[${i}] ${format(v)}`).join("  ")}`);
  return lines.join("\n");
}
