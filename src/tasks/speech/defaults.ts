/** What a model hears where the caller does not say: `generation_config.json`, read as Hugging Face's `generate` does. */

import type { Json } from "../../formats/folder.ts";
import { FormatError } from "../../tensor/errors.ts";
import { languageNamed } from "./languages.ts";
import type { SpeechDefaults, SpeechTask, SpeechTokens } from "./model.ts";

/** A file, and what it says. */
interface Settings {
  readonly name: string;
  readonly json: Json;
}

/**
 * @param files with settings, in the order in which they are asked
 * @throws FormatError for a language or a task that the model has not
 */
export function defaultsOf(folder: string, tokens: SpeechTokens, files: readonly Settings[]): SpeechDefaults {
  const [{ name, json }] = files;
  const [language, task] = [json["language"] ?? undefined, json["task"] ?? undefined];
  if (language !== undefined || task !== undefined)
    return {
      language: language === undefined ? undefined : languageOf(`${folder}: language in ${name}`, language, tokens),
      task: task === undefined ? undefined : taskOf(`${folder}: task in ${name}`, task, tokens),
    };
  const older = files.find((f) => f.json["forced_decoder_ids"] != null);
  return older
    ? forced(`${folder}: forced_decoder_ids in ${older.name}`, older.json["forced_decoder_ids"], tokens)
    : {};
}

function languageOf(where: string, value: unknown, { languages }: SpeechTokens): string | undefined {
  // Also by the name of its token.
  const name = String(value).replace(/^<\|(.*)\|>$/, "$1");
  const found = languageNamed(name, languages.size ? languages.keys() : ["en"]);
  if (found === undefined)
    throw new FormatError(
      `${where} is ${JSON.stringify(value)}, which this model does not know; set it to one of its languages, or null: ` +
        ([...languages.keys()].sort().join(" ") || "en"),
    );
  return languages.size ? found : undefined;
}

function taskOf(where: string, value: unknown, { translate }: SpeechTokens): SpeechTask {
  if (value === "transcribe" || (value === "translate" && translate !== undefined)) return value;
  throw new FormatError(
    `${where} is ${JSON.stringify(value)}, which this model does not know; set it to "transcribe"` +
      (translate === undefined ? "" : ' or "translate"'),
  );
}

/** Of older files: the tokens that a text begins with, by their places. Where the first has none, the language is heard. */
function forced(where: string, list: unknown, tokens: SpeechTokens): SpeechDefaults {
  const ids = Array.isArray(list) ? list.map((entry) => (Array.isArray(entry) ? entry : [])) : [];
  if (tokens.languages.size === 0 || ids[0]?.[0] !== 1) return {};
  const said: { language?: string; task?: SpeechTask } = {};
  for (const [, id] of ids) {
    const [language] = [...tokens.languages].find(([, token]) => token === id) ?? [];
    if (language !== undefined) said.language = language;
    else if (id === tokens.transcribe || id === tokens.translate)
      said.task = id === tokens.translate ? "translate" : "transcribe";
    else if (id !== null && id !== tokens.noTimestamps)
      throw new FormatError(
        `${where}: the token ${JSON.stringify(id)} is no language or task of this model; ` +
          `take them out of the file, or say "language" and "task" there`,
      );
  }
  return { ...said, onlyTogether: true };
}
