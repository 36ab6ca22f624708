/**
 * Trains the small unigram vocabularies beside it with SentencePiece's own trainer, on the texts of this repository and some
 * words of other scripts: `tsx test/goldens/unigram.ts SPM_TRAIN` (Debian package `sentencepiece`, 0.1.97).
 * `unigram-rules.model` has normalisation rules, collapses spaces, and puts one in front; `unigram-bytes.model` does none of
 * it and falls back to bytes. Other texts make other vocabularies: what is tested is read from the files.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const trainer = process.argv[2] ?? "spm_train";
const here = fileURLToPath(new URL(".", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "unigram-"));

const foreign =
  "日本語のテキスト 中文字符 漢字かな 한국어 문장 Ελληνικά κείμενο русский текст عربي نص हिन्दी पाठ ไทย naïve café " +
  "déjà vu ß 👍 👩 ☃ def f(x): return x[0]\nconst a = { b: [1, 2] };\n";
const texts = ["README.md", "docs/errors.md", "docs/sources.md", "docs/operators.md", "src/formats/README.md"].map(
  (file) => readFileSync(join(here, "../..", file), "utf8").replaceAll("|", " "),
);
writeFileSync(join(work, "corpus.txt"), texts.join("\n") + foreign.repeat(8));

/** A share of NFKC, spaces for spaces, nothing for control characters. */
const rules: [source: string, target: string][] = [];
const range = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, i) => String.fromCodePoint(first + i));
for (const c of [...range(1, 0x1f), "\x7f"]) rules.push([c, /\s/.test(c) ? " " : ""]);
for (const c of ["\u0085", "\u1680", ...range(0x2000, 0x200b), "\u2028", "\u2029"]) rules.push([c, " "]);
const letters = [..."aeiouAEIOUnc"].flatMap((b) => [...range(0x300, 0x308), "\u0327"].map((mark) => b + mark));
const blocks = [
  [0xa0, 0x17f],
  [0x2150, 0x218f],
  [0x3000, 0x3000],
  [0x3300, 0x3357],
  [0xfb00, 0xfb06],
  [0xff01, 0xff9f],
];
for (const c of [...letters, ...blocks.flatMap(([a, b]) => range(a, b))])
  if (c.normalize("NFKC") !== c) rules.push([c, c.normalize("NFKC")]);
const hex = (text: string): string => Array.from(text, (c) => c.codePointAt(0)!.toString(16).toUpperCase()).join(" ");
writeFileSync(join(work, "rules.tsv"), rules.map((rule) => `${rule.map(hex).join("\t")}\n`).join(""));

function train(name: string, ...options: string[]): void {
  const common = ["--model_type=unigram", "--hard_vocab_limit=false", `--input=${join(work, "corpus.txt")}`];
  execFileSync(trainer, [...common, `--model_prefix=${join(work, name)}`, ...options], { stdio: "ignore" });
  writeFileSync(join(here, `${name}.model`), readFileSync(join(work, `${name}.model`)));
}
train(
  "unigram-rules",
  "--vocab_size=700",
  "--character_coverage=0.999",
  `--normalization_rule_tsv=${join(work, "rules.tsv")}`,
  "--user_defined_symbols=<extra_0>,<tool call>",
  "--control_symbols=<pad>,<mask>",
);
train(
  "unigram-bytes",
  "--vocab_size=600",
  "--character_coverage=0.98",
  "--normalization_rule_name=identity",
  "--byte_fallback=true",
  "--add_dummy_prefix=false",
  "--remove_extra_whitespaces=false",
);
rmSync(work, { recursive: true });
