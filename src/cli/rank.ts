/** `forwardpass rank`: texts by how well they answer a query. */
import { reranking } from "../tasks/reranking.ts";
import { type Command, deviceOptions, positional } from "./command.ts";
import { opened, textsOf, timed } from "./model.ts";
import { table } from "./progress.ts";

export const rank: Command = {
  name: "rank",
  summary: "order texts by how well they answer a query, with a cross-encoder",
  usage: 'MODEL "QUERY" "TEXT" ["TEXT" ...] [options]',
  positionals: Infinity,
  options: { ...deviceOptions, json: { type: "boolean", help: "print texts, places and scores as JSON" } },
  examples: [
    'forwardpass rank cross-encoder/ "how to boil eggs" "Eggs take ten minutes." "Shares fell."',
    'cat notes.txt | forwardpass rank cross-encoder/ "when do we meet" -',
  ],
  async run(args, io) {
    const path = positional(args, 0, "MODEL");
    const query = positional(args, 1, "QUERY");
    const texts = await textsOf(args, io, 2);
    using model = await opened(args, io, (options) => reranking(path, options));
    const started = performance.now();
    const ranked = await model.rank(query, texts);
    if (args.options["json"]) io.stdout.write(`${JSON.stringify(ranked)}\n`);
    else if (ranked.length > 0) io.stdout.write(`${table(ranked.map((r) => [r.score.toFixed(3), r.text]))}\n`);
    io.stderr.write(timed(texts.length, started, model.session));
    return 0;
  },
};
