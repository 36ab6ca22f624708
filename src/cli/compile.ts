/** `forwardpass compile`: a model as a static module, its weights, and a loader, for runtimes that forbid compiling. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { compileAhead } from "../ahead.ts";
import { makeFolder } from "../formats/sources/store-files.ts";
import { InputError } from "../tensor/errors.ts";
import { type Command, deviceOptions, positional, UsageError } from "./command.ts";
import { loading, outputOption, outputsIn } from "./model.ts";
import { formatBytes } from "./progress.ts";
import { replaceFiles } from "./replace-files.ts";
import { shapeOption, shapesIn } from "./shapes.ts";
import { reasonOf } from "./system.ts";

export const compile: Command = {
  name: "compile",
  summary: "write a model as a static .wasm module with its weights and a small loader",
  usage: "MODEL --out FOLDER [options]",
  options: {
    out: { type: "string", short: "o", value: "FOLDER", help: "where to write model.wasm, .weights, .mjs and .d.mts" },
    shape: {
      ...shapeOption,
      help: "the shape of an input, where the model leaves it open; others follow by their dimensions' names",
    },
    output: outputOption,
    relaxed: { type: "boolean", help: "use relaxed SIMD instructions, which not every engine has" },
    offline: deviceOptions.offline,
  },
  examples: ["forwardpass compile mobilenet.onnx --out edge/ --shape x=1,3,224,224"],
  async run(args, io) {
    const folder = args.options["out"] as string | undefined;
    if (folder === undefined) throw new UsageError("--out is missing: a folder to write to");
    const path = positional(args, 0, "MODEL");
    // Before anything is compiled for it.
    if ((await stat(folder).catch(() => undefined))?.isDirectory() === false)
      throw new UsageError(`--out is a folder to write to, and "${folder}" is a file`);
    const [shapes, relaxedSimd] = [shapesIn(args), args.options["relaxed"] === true];
    const files = await loading("compiling", args, io, (options) =>
      compileAhead(path, { ...options, shapes, relaxedSimd, outputs: outputsIn(args) }),
    );
    await makeFolder(folder).catch((cause: Error) => {
      throw new InputError(`--out ${folder}: the folder cannot be made: ${reasonOf(cause)}`, { cause });
    });
    await replaceFiles(new Map(Object.entries(files).map(([name, content]) => [join(folder, name), [content]])));
    for (const [name, content] of Object.entries(files))
      io.stdout.write(`${join(folder, name)}  ${formatBytes(content.length)}\n`);
    return 0;
  },
};
