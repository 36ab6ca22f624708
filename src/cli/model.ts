/** Loading a model as the options say, with progress on a terminal. */
import { type DeviceChoice, type DeviceName, openDevice } from "../device.ts";
import type { FetchOptions } from "../formats/source.ts";
import type { Session } from "../graph/session.ts";
import { load } from "../load.ts";
import type { TaskOptions } from "../tasks/options.ts";
import { type Arguments, type CliIO, type Option, UsageError, wholeNumber } from "./command.ts";
import { interruptible } from "./interruptible.ts";
import { counted, formatMs, progressBar } from "./progress.ts";

/** All but the one that takes a page. */
const devices: readonly DeviceName[] = ["cpu", "wasm", "webgpu"];

async function deviceOf(args: Arguments): Promise<DeviceChoice | undefined> {
  const name = args.options["device"] as DeviceName | undefined;
  if (name !== undefined && !devices.includes(name))
    throw new UsageError(`--device takes one of ${devices.join(", ")}, got "${name}"`);
  const threads = args.options["threads"] === undefined ? undefined : wholeNumber(args, "threads", 1, 1);
  try {
    return await openDevice(name, { threads });
  } catch (e) {
    throw (e as Error).name === "InputError" ? new UsageError((e as Error).message) : e;
  }
}

/** What is downloaded is kept. */
export const fetchOptions = (args: Arguments): FetchOptions => ({
  cache: true,
  offline: args.options["offline"] === true || undefined,
});

/** Of commands whose model computes some of its outputs. */
export const outputOption: Option = {
  type: "string",
  multiple: true,
  value: "NAME",
  help: "compute this output alone, or these; default: all",
};

export const outputsIn = (args: Arguments): readonly string[] | undefined =>
  args.options["output"] as string[] | undefined;

export const loadModel = (path: string, args: Arguments, io: CliIO): Promise<Session> =>
  opened(args, io, (options) => load(path, { ...options, outputs: outputsIn(args) }));

/** What `open` makes with the options of the command line. */
export const opened = <T>(args: Arguments, io: CliIO, open: (options: TaskOptions) => Promise<T>): Promise<T> =>
  loading("loading", args, io, async (options) => open({ ...options, device: await deviceOf(args) }));

type LoadingOptions = FetchOptions & Pick<TaskOptions, "signal" | "onProgress">;

/** The same of what takes no device. Ctrl-C stops it. */
export async function loading<T>(
  label: string,
  args: Arguments,
  io: CliIO,
  work: (options: LoadingOptions) => Promise<T>,
): Promise<T> {
  const bar = progressBar(io, label);
  try {
    return await interruptible(async (signal) => {
      const made = await work({ ...fetchOptions(args), signal, onProgress: (p) => bar.update(p) });
      // Its last steps look at no signal, and one that came while they computed waits for the event loop: the turn that is
      // under way has asked the system before.
      for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
      if (!signal.aborted) return made;
      (made as Partial<Disposable>)[Symbol.dispose]?.();
      throw signal.reason;
    });
  } finally {
    bar.done();
  }
}

/** All of the standard input as text. */
export async function standardInput(io: CliIO): Promise<string> {
  // A character may begin in one chunk and end in the next.
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of io.stdin)
    text += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
  return text + decoder.decode();
}

/** The texts of the command line after the first `skip` arguments; `-` stands for the lines of the standard input. */
export async function textsOf(args: Arguments, io: CliIO, skip = 1): Promise<string[]> {
  const given = args.positionals.slice(skip);
  if (given.length === 0) throw new UsageError("TEXT is missing");
  const texts: string[] = [];
  for (const text of given) {
    if (text !== "-") texts.push(text);
    else {
      const input = await standardInput(io);
      texts.push(...input.split(/\r?\n/).filter((line) => line !== ""));
    }
  }
  return texts;
}

/** How many texts, how long it took and where: for the standard error. */
export const timed = (count: number, started: number, session: Session): string =>
  `${counted(count, "text")} in ${formatMs(performance.now() - started)} on ${session.device.name}\n`;
