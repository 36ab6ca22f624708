/** `forwardpass embed`: vectors of sentences, or how near they are to each other. */
import { cosineSimilarity, embeddings } from "../tasks/embed.ts";
import { type Arguments, type CliIO, type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { deviceOf, fetchOptions } from "./model.ts";
import { counted, formatMs, progressBar, table } from "./progress.ts";

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
    const bar = progressBar(io, "loading");
    const device = await deviceOf(args);
    using model = await embeddings(path, {
      ...fetchOptions(args),
      device,
      pooling,
      onProgress: (p) => bar.update(p),
    }).finally(() => bar.done());
    const started = performance.now();
    const vectors = await model.embed(texts);
    const wanted = query === undefined ? undefined : await model.embed(query as string);
    const ms = performance.now() - started;
    const near = wanted && vectors.map((v) => cosineSimilarity(v, wanted));
    if (args.options["json"]) {
      const rows = texts.map((text, i) => ({ text, similarity: near?.[i], vector: Array.from(vectors[i]) }));
      io.stdout.write(`${JSON.stringify(rows)}\n`);
      return 0;
    }
    const order = texts.map((_, i) => i);
    if (near) order.sort((a, b) => near[b] - near[a]);
    const rows = order.map((i) => [near ? near[i].toFixed(3) : beginning(vectors[i]), texts[i]]);
    io.stdout.write(`${table(rows)}\n`);
    io.stderr.write(`${counted(texts.length, "text")} in ${formatMs(ms)} on ${model.session.device.name}\n`);
    return 0;
  },
};

const beginning = (v: Float32Array): string =>
  `${Array.from(v.subarray(0, 4), (x) => x.toFixed(4).padStart(7)).join(" ")} ...`;

/** The texts of the command line; `-` stands for the lines of the standard input. */
async function textsOf(args: Arguments, io: CliIO): Promise<string[]> {
  const given = args.positionals.slice(1);
  if (given.length === 0) throw new UsageError("TEXT is missing");
  const texts: string[] = [];
  for (const text of given) {
    if (text !== "-") texts.push(text);
    else {
      let input = "";
      for await (const chunk of io.stdin) input += chunk;
      texts.push(...input.split(/\r?\n/).filter((line) => line !== ""));
    }
  }
  return texts;
}
