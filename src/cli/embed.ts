/** `forwardpass embed`: vectors of sentences, or how near they are to each other. */
import { embeddings } from "../tasks/embed.ts";
import { type Pooling, poolings } from "../tasks/language/pooling.ts";
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
    query: {
      type: "string",
      short: "q",
      value: "TEXT",
      help: "rank the texts by nearness to this one; the model's own prompts for queries and documents are used",
    },
    pooling: {
      type: "string",
      value: "HOW",
      help: `${poolings.join(", ")}, or several by commas; default: what the model says`,
    },
    prompt: { type: "string", value: "NAME", help: "put this prompt of the model's in front of the texts" },
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
    const query = args.options["query"] as string | undefined;
    const prompt = args.options["prompt"] as string | undefined;
    const pooling = (args.options["pooling"] as string | undefined)?.split(",") as Pooling[] | undefined;
    if (pooling?.some((way) => !poolings.includes(way)))
      throw new UsageError(`--pooling takes ${poolings.join(", ")}, got "${pooling}"`);
    using model = await opened(args, io, (options) => embeddings(path, { ...options, pooling }));
    const started = performance.now();
    const own = (names: readonly string[]) => names.find((name) => Object.hasOwn(model.prompts, name));
    const ofTexts = prompt ?? (query === undefined ? undefined : own(documentPrompts));
    const vectors = await model.embed(texts, { prompt: ofTexts });
    const wanted = query === undefined ? undefined : await model.embed(query, { prompt: own(["query"]) ?? prompt });
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

/** What sentence-transformers' `encode_document` takes, the first that there is. */
const documentPrompts = ["document", "passage", "corpus"];

const beginning = (v: Float32Array): string =>
  `${Array.from(v.subarray(0, 4), (x) => x.toFixed(4).padStart(7)).join(" ")} ...`;
