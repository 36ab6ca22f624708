/** Who writes to a file, so that others leave it alone: of files that are on their way, only dead programs' are gone on with. */
import { hasFileSystem } from "../source.ts";
import { unique } from "./store.ts";

/** One thread of one program. */
export interface Writer {
  readonly thread: string;
  readonly pid: number;
  /** When the program began, in milliseconds: numbers of processes are given again, in containers the same ones. */
  readonly began: number;
}

const slackMs = 2000;
const thread = unique();
/** What this thread writes to now. Names of such files are unique. */
export const writing: Set<string> = new Set();

/** Undefined in browsers: there what is on its way is nobody's once it is one's turn. */
export function thisWriter(): Writer | undefined {
  if (!hasFileSystem()) return undefined;
  const { process } = globalThis;
  return { thread, pid: process.pid, began: Date.now() - process.uptime() * 1000 };
}

/** Whether the file's writer may still be at work. */
export function isWritten(file: string, writer: Writer | undefined): boolean {
  const own = thisWriter();
  if (!own || !writer) return false;
  if (writer.thread === thread) return writing.has(file);
  if (writer.pid === own.pid) return Math.abs(writer.began - own.began) < slackMs;
  try {
    globalThis.process.kill(writer.pid, 0);
    return true;
  } catch (e) {
    // Any other answer leaves it open, as in Deno without the permission to ask.
    return (e as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
