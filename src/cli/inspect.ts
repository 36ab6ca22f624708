/** `forwardpass inspect`: what is in a model and what it needs, before it runs. */
import type { Graph, Node, ValueInfo } from "../graph/ir.ts";
import { subgraphsOf } from "../graph/ir.ts";
import type { Forest } from "../ops/ml/forest.ts";
import { bytesOf } from "../tensor/dtype.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";
import { sizeOf } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { sourceOf } from "../tensor/weight.ts";
import { type Command, deviceOptions, positional } from "./command.ts";
import { loadModel } from "./model.ts";
import { formatBytes, formatCount, table } from "./progress.ts";
import { estimate, shapeOption, shapesOf, typeText } from "./shapes.ts";

export const inspect: Command = {
  name: "inspect",
  summary: "show a model's inputs, outputs, operators, parameters and memory",
  usage: "MODEL [options]",
  options: {
    shape: shapeOption,
    ...deviceOptions,
    json: { type: "boolean", help: "print as JSON" },
  },
  examples: ["forwardpass inspect model.onnx", "forwardpass inspect model.onnx --shape x=8,3,224,224"],
  async run(args, io) {
    const path = positional(args, 0, "MODEL");
    let model: Awaited<ReturnType<typeof loadModel>>;
    try {
      model = await loadModel(path, args, io);
    } catch (e) {
      if (!(e instanceof UnsupportedOpError)) throw e;
      if (args.options["json"]) io.stdout.write(`${JSON.stringify({ unsupported: e.missing })}\n`);
      else io.stdout.write(`This model cannot run yet. Not supported:\n${e.missing.map((m) => `  ${m}`).join("\n")}\n`);
      return 1;
    }
    const { graph } = model;
    const operators = countOperators(graph);
    const constants = constantsOf(graph);
    const inAttributes = [...graphsOf(graph)].flatMap((g) => g.nodes).reduce((n, { attrs }) => n + learnedIn(attrs), 0);
    const parameters = constants.reduce((n, c) => n + c.parameters, inAttributes);
    const constantBytes = constants.reduce((n, { tensor: t }) => n + sizeOf(t.shape) * bytesOf(t.dtype), 0);
    const weightBytes = constantBytes + inAttributes * bytesOf("f64");
    const plan = estimate(model, shapesOf(args, model.inputs));
    const report = {
      inputs: model.inputs,
      outputs: model.outputs,
      operators: Object.fromEntries(operators),
      parameters,
      weightBytes,
      device: model.device.name,
      activationBytes: plan?.arenaBytes ?? null,
      activationInputs: plan?.inputs ?? null,
      dependsOnData: plan?.stopsAt ?? null,
    };
    model.dispose();
    if (args.options["json"]) {
      io.stdout.write(`${JSON.stringify(report)}\n`);
      return 0;
    }
    const port = (p: ValueInfo): string[] => [`  ${p.name}`, typeText(p)];
    const stop = plan?.stopsAt ? `, as far as node "${plan.stopsAt}", whose shape depends on data` : "";
    const lines = [
      `Inputs\n${table(report.inputs.map(port))}`,
      `Outputs\n${table(report.outputs.map(port))}`,
      `Operators after optimisation\n${table(
        operators.map(([name, n]) => [`  ${name}`, String(n)]),
        [1],
      )}`,
      `Parameters   ${formatCount(parameters)} (${formatBytes(weightBytes)})`,
      plan
        ? `Activations  ${formatBytes(plan.arenaBytes)} on ${report.device} with ${plan.inputs.join(", ")}${stop}`
        : "Activations  depend on shapes that the model leaves open: give them with --shape NAME=1,3,224,224",
    ];
    io.stdout.write(`${lines.join("\n\n")}\n`);
    return 0;
  },
};

function* graphsOf(graph: Graph): Generator<Graph> {
  yield graph;
  for (const node of graph.nodes) for (const inner of subgraphsOf(node)) yield* graphsOf(inner);
}

function countOperators(graph: Graph): [string, number][] {
  const counts = new Map<string, number>();
  for (const g of graphsOf(graph)) for (const { op } of g.nodes) counts.set(op.name, (counts.get(op.name) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
}

/** Of trees, linear models, support vector machines and what prepares their inputs; held as doubles. */
const learned = [
  "coefficients",
  "intercepts",
  "supportVectors",
  "rho",
  "probA",
  "probB",
  "base",
  "offset",
  "scale",
  "imputed",
];

/** How many parameters attributes hold: of trees these are the thresholds and the leaves' weights. */
function learnedIn({ forest, ...attrs }: Node["attrs"]): number {
  const { threshold = [], weight = [] } = (forest ?? {}) as Partial<Forest>;
  const lists = [threshold, weight, ...learned.map((name) => attrs[name])];
  return lists.reduce<number>((n, list) => n + (typeof list === "object" ? (list as ArrayLike<number>).length : 0), 0);
}

interface Constant {
  readonly tensor: HostTensor;
  readonly parameters: number;
}

/** Constants of all graphs; a branch shares those of its surroundings. */
function constantsOf(graph: Graph): Constant[] {
  const seen = new Map<object, Constant>();
  for (const { constants, nodes } of graphsOf(graph)) {
    const uses = new Map(nodes.flatMap((node) => node.inputs.map((id, i) => [id, { node, i }] as const)));
    for (const [id, tensor] of constants) {
      const use = uses.get(id);
      const parameters = (use && parametersAt(use.node, use.i)) ?? sizeOf(tensor.shape);
      seen.set(sourceOf(tensor), { tensor, parameters });
    }
  }
  return [...seen.values()];
}

/** How many the constant holds that is a node's input i. Undefined: as many as it has elements. */
function parametersAt({ op, attrs }: Node, i: number): number | undefined {
  const { k, n, rows = n } = attrs as Record<string, number>;
  switch (op.name) {
    // Of angles, and where in them texts begin.
    case "rotaryEmbedding":
      return 0;
    case "quantizedMatmul":
    case "quantizedGather":
      return i === 1 ? k * rows : undefined;
    // Its scales, zero points and groups make up the weights.
    case "matmulNBits":
      return i === 1 ? k * rows : i < 5 ? 0 : undefined;
    default:
      return undefined;
  }
}
