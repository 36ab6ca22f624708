/** What was typed into chats, kept from session to session beside the downloads. */
import { readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { makeFolder, usualFolder } from "../formats/sources/store-files.ts";

export const historySize = 500;

/** Undefined where there is no place for it. */
function historyFile(): string | undefined {
  const folder = usualFolder();
  return folder && `${folder}/chat-history`;
}

/** The latest line first. None where nothing was kept. */
export async function readHistory(): Promise<string[]> {
  const path = historyFile();
  const text = path ? await readFile(path, "utf8").catch(() => "") : "";
  return text.split("\n").filter((line) => line !== "");
}

/** For the user's eyes only. A folder that cannot be written to is no reason to fail. */
export async function writeHistory(lines: readonly string[]): Promise<void> {
  const path = historyFile();
  if (!path) return;
  const text = lines.slice(0, historySize).map((line) => `${line}\n`);
  await makeFolder(dirname(path)).catch(() => {});
  await writeFile(path, text.join(""), { mode: 0o600 }).catch(() => {});
}
