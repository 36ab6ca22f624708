/** Loading a model as the options say, with progress on a terminal. */
import { type DeviceChoice, openDevice } from "../device.ts";
import type { FetchOptions } from "../formats/source.ts";
import type { Session } from "../graph/session.ts";
import { load } from "../load.ts";
import { type Arguments, type CliIO, UsageError, wholeNumber } from "./command.ts";
import { progressBar } from "./progress.ts";

export async function deviceOf(args: Arguments): Promise<DeviceChoice | undefined> {
  const name = args.options["device"] as DeviceChoice | undefined;
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

export async function loadModel(path: string, args: Arguments, io: CliIO): Promise<Session> {
  const bar = progressBar(io, "loading");
  try {
    return await load(path, { ...fetchOptions(args), device: await deviceOf(args), onProgress: (p) => bar.update(p) });
  } finally {
    bar.done();
  }
}
