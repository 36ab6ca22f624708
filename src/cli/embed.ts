/** `forwardpass embed`: vectors of sentences, or how near they are to each other. */
import { embeddings } from "../tasks/embed.ts";
import { cosineSimilarity } from "../tasks/similarity.ts";
import { type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { opened, textsOf, timed } from "./model.ts";
import { table } from "./progress.ts";

export const embed: Command = {
  name: "embed",
  summary: "turn sentences into vectors, or rank them by meaning",
  usage: 'MODEL "TEXT" ["TEXT" ...] [options]',
  positionals: Infinity,
  options: {
    query: { type: "string", short: "q", value: "TEXT", help: "rank the texts by nearness to this one" },
    pooling: { type: "string", value: "HOW", help: "mean or cls; default: what the model says" },
    ...deviceOptions,
    json: { type: "boolean", help: "print whole vectors as JSON" },
  },
  examples: [
    'forwardpass embed all-MiniLM-L6-v2/ "A cat sleeps" "Shares fell" --query "a feline rests"',
    "ls docs | forwardpass embed all-MiniLM-L6-v2/ - --json",
  ],
  async run(args, io) {
    const path = positional(args, 0, "MODEL");
    const texts = await textsOf(args, io);
    const { pooling, query } = args.options;
    if (pooling !== undefined && pooling !== "mean" && pooling !== "cls")
      throw new UsageError(`--pooling is mean or cls, got "${pooling}"`);
    using model = await opened(args, io, (options) => embeddings(path, { ...options, pooling }));
    const started = performance.now();
    const vectors = await model.embed(texts);
    const wanted = query === undefined ? undefined : await model.embed(query as string);
    const near = wanted && vectors.map((v) => cosineSimilarity(v, wanted));
    if (args.options["json"]) {
      const rows = texts.map((text, i) => ({ text, similarity: near?.[i], vector: Array.from(vectors[i]) }));
      io.stdout.write(`${JSON.stringify(rows)}\n`);
      return 0;
    }
    const order = texts.map((_, i) => i);
    if (near) order.sort((a, b) => near[b] - near[a]);
    const rows = order.map((i) => [near ? near[i].toFixed(3) : beginning(vectors[i]), texts[i]]);
    if (rows.length > 0) io.stdout.write(`${table(rows)}\n`);
    io.stderr.write(timed(texts.length, started, model.session));
    return 0;
  },
};

const beginning = (v: Float32Array): string =>
  `${Array.from(v.subarray(0, 4), (x) => x.toFixed(4).padStart(7)).join(" ")} ...`;
