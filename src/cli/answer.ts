/** `forwardpass answer`: where in a text the answer to a question stands. */
import { questionAnswering } from "../tasks/question-answering.ts";
import { type Command, deviceOptions, positional } from "./command.ts";
import { opened, textsOf, timed } from "./model.ts";
import { printableLine } from "./progress.ts";

export const answer: Command = {
  name: "answer",
  summary: "find the answer to a question in a text",
  usage: 'MODEL "QUESTION" "TEXT" [options]',
  positionals: 3,
  options: { ...deviceOptions, json: { type: "boolean", help: "print answer, place and score as JSON" } },
  examples: [
    'forwardpass answer squad-folder "Who wrote it?" "The letter was written by Ada Lovelace."',
    'cat notes.txt | forwardpass answer squad-folder "When do we meet?" -',
  ],
  async run(args, io) {
    const path = positional(args, 0, "MODEL");
    const question = positional(args, 1, "QUESTION");
    const context = (await textsOf(args, io, 2)).join("\n");
    using model = await opened(args, io, (options) => questionAnswering(path, options));
    const started = performance.now();
    const found = await model.answer(question, context);
    if (args.options["json"]) io.stdout.write(`${JSON.stringify(found ?? null)}\n`);
    else
      io.stdout.write(
        found ? `${printableLine(found.text)}  ${found.score.toFixed(3)}\n` : "(there is no answer in the text)\n",
      );
    io.stderr.write(timed(1, started, model.session));
    return 0;
  },
};
