/** What the system refuses, in words. */
import { readFile } from "node:fs/promises";
import { InputError } from "../tensor/errors.ts";

/** `no space left on device`: what Node says without a code, a call and paths. */
export const reasonOf = ({ message }: Error): string => /^E[A-Z0-9]+: ([^,]*), /.exec(message)?.[1] ?? message;

const fileTroubles: Readonly<Record<string, (path: string) => string>> = {
  ENOENT: (path) => `there is no file ${path}`,
  EISDIR: (path) => `${path} is a folder, not a file`,
};

/** @param use what the file is for, in messages @throws InputError */
export const readNamed = (path: string, use: string): Promise<Buffer<ArrayBuffer>> =>
  readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const what = fileTroubles[cause.code ?? ""]?.(path) ?? `${path}: ${reasonOf(cause)}`;
    throw new InputError(`${use}: ${what}`, { cause });
  });
