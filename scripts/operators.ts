/**
 * Writes docs/operators.md: which operators of the ONNX standard have a lowering, and in which versions.
 * `npx tsx scripts/operators.ts`. Needs the standard's schemas beside the repository.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { allLowerings } from "../src/formats/onnx/lower.ts";

const lowerings = await allLowerings();
const specs = new URL("../../shared/onnx-spec/ops/", import.meta.url);
export const operatorsPath = fileURLToPath(new URL("../docs/operators.md", import.meta.url));
export const haveSpecs = existsSync(fileURLToPath(specs));

/** First opset of each version that counts from opset 6 on: the one in force then, and all later ones. */
function versionsOf(file: string): number[] {
  const versions = JSON.parse(readFileSync(new URL(file, specs), "utf8")) as { since: number; deprecated: unknown }[];
  const since = versions.map((v) => v.since).sort((a, b) => a - b);
  const first = file.includes("__") ? since[0] : Math.max(...since.filter((v) => v <= 6), since[0]);
  return since.filter((v) => v >= first);
}

/** The page, from the lowering table and the schemas. */
export function operatorsPage(): string {
  const standard = new Map<string, number[]>();
  for (const file of readdirSync(specs).sort())
    standard.set(file.replace(/\.json$/, "").replace("__", "::"), versionsOf(file));
  const known = Object.keys(lowerings).sort();
  const rows = known.map((name) => `| ${name} | ${standard.get(name)?.join(", ") ?? "1"} |`);
  const missing = [...standard.keys()].filter((name) => !Object.hasOwn(lowerings, name));
  return `# ONNX operators

Made by \`npx tsx scripts/operators.ts\`. A version is the opset that it came with; every opset from 6 on works, also later
ones than are listed where the operator did not change. Functions in a model file need no entry here.

${known.length} operators, ${known.filter((name) => standard.has(name)).length} of the ${standard.size} of the standard.

| operator | versions |
|---|---|
${rows.join("\n")}

Of the standard, these are not supported: ${missing.join(", ") || "none"}.
`;
}

export const readmePath = fileURLToPath(new URL("../README.md", import.meta.url));
const block = /(<!-- operators[^>]*-->\n)[\s\S]*(<!-- \/operators -->)/;

const formats = [
  ["ONNX", "opset 6 and up, external data, local functions, control flow, sequences, quantised operators"],
  [
    "GGUF",
    "versions 2 and 3, every block type, also in several files; llama, qwen2, qwen3, phi3, gemma, gemma2, gemma3, gpt2, smollm3, granite, olmo2 (also as sentence encoders), gemma-embedding, bert, nomic-bert, modern-bert; written too",
  ],
  [
    "safetensors",
    "every dtype (6-bit floats and complex numbers as bytes only), sharded; with `config.json` the same models, mistral, olmo3 and what writes texts in gemma3 with pictures; written too",
  ],
  ["llama2.c", "version 0, with or without its tokenizer"],
];

/** The README with its table of formats and operators. */
export function readmeWithOperators(readme: string): string {
  const byDomain = (domain: string): string[] =>
    Object.keys(lowerings)
      .filter((name) => (name.includes("::") ? name.split("::")[0] : "ai.onnx") === domain)
      .map((name) => name.split("::").at(-1)!)
      .sort();
  const domains = [
    ...new Set(Object.keys(lowerings).map((n) => (n.includes("::") ? n.split("::")[0] : "ai.onnx"))),
  ].sort();
  const rows = domains.map((d) => `| ${d} | ${byDomain(d).length} | ${byDomain(d).join(" ")} |`);
  const table = [
    "| format | what of it |",
    "|---|---|",
    ...formats.map(([name, what]) => `| ${name} | ${what} |`),
    "",
    "| ONNX domain | operators | |",
    "|---|---|---|",
    ...rows,
    "",
    "With versions: [docs/operators.md](docs/operators.md).",
  ];
  return readme.replace(block, (_, open: string, close: string) => `${open}${table.join("\n")}\n${close}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (haveSpecs) writeFileSync(operatorsPath, operatorsPage());
  writeFileSync(readmePath, readmeWithOperators(readFileSync(readmePath, "utf8")));
}
