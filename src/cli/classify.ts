/** `forwardpass classify`: labels of texts, by the model's classes or your own, or of what is named in them. */
import type { LabelScore } from "../tasks/classes.ts";
import { textClassification } from "../tasks/text-classification.ts";
import { tokenClassification } from "../tasks/token-classification.ts";
import { zeroShotClassification } from "../tasks/zero-shot-classification.ts";
import { type Arguments, type CliIO, type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { opened, textsOf, timed } from "./model.ts";
import { table } from "./progress.ts";

export const classify: Command = {
  name: "classify",
  summary: "label texts, or find the names in them",
  usage: 'MODEL "TEXT" ["TEXT" ...] [options]',
  positionals: Infinity,
  options: {
    labels: {
      type: "string",
      short: "l",
      value: "A,B,...",
      help: "labels of your own, for a model of inference (NLI)",
    },
    entities: { type: "boolean", help: "names, places and the like, by a model for tokens (NER)" },
    ...deviceOptions,
    json: { type: "boolean", help: "print all labels and scores as JSON" },
  },
  examples: [
    'forwardpass classify spam-folder "You have won!" "See you at ten."',
    'forwardpass classify nli-folder "The band plays on Friday." --labels music,sports,politics',
    'forwardpass classify ner-folder "Ada Lovelace lived in London." --entities',
  ],
  async run(args, io) {
    const path = positional(args, 0, "MODEL");
    const given = args.options["labels"] as string | undefined;
    const labels = given?.split(",").map((label) => label.trim());
    if (labels?.includes("")) throw new UsageError(`--labels takes names with commas between them, got "${given}"`);
    if (labels && args.options["entities"])
      throw new UsageError("--labels judges whole texts, --entities finds names in them: give one of the two");
    const texts = await textsOf(args, io);
    if (args.options["entities"]) return entities(path, texts, args, io);
    if (!labels) {
      using model = await opened(args, io, (options) => textClassification(path, options));
      const started = performance.now();
      show(texts, await model.classify(texts), args, io);
      io.stderr.write(timed(texts.length, started, model.session));
      return 0;
    }
    using model = await opened(args, io, (options) => zeroShotClassification(path, options));
    const started = performance.now();
    const scores: LabelScore[][] = [];
    for (const text of texts) scores.push(await model.classify(text, labels));
    show(texts, scores, args, io);
    io.stderr.write(timed(texts.length, started, model.session));
    return 0;
  },
};

function show(texts: readonly string[], scores: readonly LabelScore[][], args: Arguments, io: CliIO): void {
  if (args.options["json"]) {
    io.stdout.write(`${JSON.stringify(texts.map((text, i) => ({ text, labels: scores[i] })))}\n`);
    return;
  }
  const rows = texts.map((text, i) => [scores[i][0].label, scores[i][0].score.toFixed(3), text]);
  if (rows.length > 0) io.stdout.write(`${table(rows)}\n`);
}

async function entities(path: string, texts: readonly string[], args: Arguments, io: CliIO): Promise<number> {
  using model = await opened(args, io, (options) => tokenClassification(path, options));
  const started = performance.now();
  const found = [];
  for (const text of texts) found.push({ text, entities: await model.classify(text) });
  if (args.options["json"]) io.stdout.write(`${JSON.stringify(found)}\n`);
  else {
    const rows = found.flatMap((f) => f.entities.map((e) => [e.label, e.score.toFixed(3), e.text]));
    io.stdout.write(rows.length > 0 ? `${table(rows)}\n` : "(nothing is named)\n");
  }
  io.stderr.write(timed(texts.length, started, model.session));
  return 0;
}
