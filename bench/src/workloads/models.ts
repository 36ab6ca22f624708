/** Whole models: those of the examples with a real input, and well-known topologies with random weights. */
import { models as generated } from "../../models/models.ts";
import { type Feed, randomFeed, type Task } from "../task.ts";
import { type Context, type LazyTask, measureAll, type Workload } from "./workload.ts";

interface Golden {
  readonly dims?: number[];
  readonly u8?: string;
  readonly features?: number[];
  readonly input_ids?: number[][];
  readonly attention_mask?: number[][];
}

const tokens = ([row]: readonly number[][]): Feed => ({
  dtype: "i64",
  shape: [1, row.length],
  data: BigInt64Array.from(row, BigInt),
});

const image = ({ u8, dims }: Golden): Record<string, Feed> => ({
  image: { dtype: "f32", shape: dims!, data: Float32Array.from(atob(u8!), (c) => c.charCodeAt(0) / 255) },
});

/** Inputs of a case of `golden.json`. */
const examples: Record<string, (golden: Golden) => Record<string, Feed>> = {
  "fraud-mlp": ({ features, dims }) => ({
    features: { dtype: "f32", shape: dims!, data: Float32Array.from(features!) },
  }),
  "mnist-mlp": image,
  "mnist-cnn": image,
  "cifar10-cnn": image,
  "spam-transformer": ({ input_ids, attention_mask }) => ({
    input_ids: tokens(input_ids!),
    attention_mask: tokens(attention_mask!),
  }),
};

async function exampleTask(name: string, readFile: Context["readFile"]): Promise<Task> {
  const folder = `examples/models/${name}`;
  const text = new TextDecoder().decode(await readFile(`${folder}/golden.json`));
  const { cases } = JSON.parse(text) as { cases: Golden[] };
  // A copy of its own: small files come as views of a shared buffer, which some readers take for the file.
  const onnx = Uint8Array.from(await readFile(`${folder}/model.onnx`));
  return { name, onnx, inputs: examples[name](cases[0]), flop: 0 };
}

/** Billions of multiplications and additions of the products and convolutions, in round numbers. */
const gigaflop: Record<string, number> = {
  squeezenet: 0.7,
  shufflenet: 0.27,
  inception: 4,
  densenet: 5.7,
  resnet50: 8.2,
  bert: 22.3,
};

const tasksOf = ({ readFile }: Context): readonly LazyTask[] => [
  ...Object.keys(examples).map((name) => ({ name, make: () => exampleTask(name, readFile) })),
  ...Object.entries(generated).map(([name, { make, shape }]) => ({
    name,
    make: (): Task => ({
      name,
      onnx: make(),
      inputs: { x: randomFeed(shape, 7) },
      flop: (gigaflop[name] ?? 0) * 1e9,
      // A last bit of a sum decides between two of 256 steps (docs/decisions/007).
      tolerance: name.endsWith("int8") ? 2 / 256 : undefined,
    }),
  })),
];

export const models: Workload = {
  name: "models",
  title: "Whole models f32, batch 1 (the large ones are topologies with random weights)",
  async run(context) {
    await measureAll(tasksOf(context), await context.openEngines(), context);
  },
};
