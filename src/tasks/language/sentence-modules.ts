/**
 * What sentence-transformers keeps beside an encoder: the modules that make a vector of its states (`modules.json`), and what is
 * put in front of texts. Source: the files that its `save` writes (https://sbert.net).
 */
import { asF32, type Json, type ModelFolder } from "../../formats/folder.ts";
import { readSafetensors } from "../../formats/safetensors.ts";
import { erf } from "../../ops/special.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { isPooling, type Pooling, poolingsWhere } from "./pooling.ts";

interface Module {
  /** Without the package that it is in: `Pooling`. */
  readonly kind: string;
  /** Its folder. The encoder's is empty. */
  readonly path: string;
}

/** Of a vector another one. */
export interface VectorStep {
  readonly name: string;
  /** Elements, where it takes and gives so many and no others. */
  readonly takes?: number;
  readonly gives?: number;
  apply(v: Float32Array): Float32Array;
}

interface Prompts {
  readonly texts: Readonly<Record<string, string>>;
  /** What is put in front of texts where nobody says otherwise. */
  readonly usual: string;
}

/** How sentences become vectors, but for the encoder. */
export interface SentenceRules {
  readonly prompts: Prompts;
  readonly ways: readonly Pooling[];
  /** Whether the tokens of a prompt are in the vector. */
  readonly countsPrompt: boolean;
  readonly steps: readonly VectorStep[];
  /** Whether vectors get length 1 at last. */
  readonly normalize: boolean;
}

/** What options say of them. */
export interface GivenRules {
  readonly ways?: readonly Pooling[];
  readonly normalize?: boolean;
}

/** Those of a file that says itself how to pool. */
export const ownRules = (
  ways: readonly Pooling[],
  given: GivenRules,
  steps: readonly VectorStep[] = [],
): SentenceRules => ({
  prompts: { texts: {}, usual: "" },
  ways: given.ways ?? ways,
  countsPrompt: true,
  steps,
  normalize: given.normalize ?? true,
});

/** Those beside a graph that gives vectors of sentences: what makes them is in it. */
export async function rulesAround(folder: ModelFolder, given: GivenRules): Promise<SentenceRules> {
  const normalize = given.normalize ?? endsUnit(await readModules(folder));
  return { ...ownRules([], { normalize }), prompts: await readPrompts(folder) };
}

/**
 * Those of the folder, as far as options don't say otherwise.
 * @throws FormatError, InputError for files that are none or missing; UnsupportedOpError for modules, ways to pool and weights
 *   that are not known
 */
export async function readRules(folder: ModelFolder, given: GivenRules): Promise<SentenceRules> {
  const modules = await readModules(folder);
  const json = await poolingBeside(folder, modules);
  const ways = given.ways ?? (json ? waysIn(folder.name, json) : modules ? undefined : (["mean"] as const));
  if (!ways)
    throw new UnsupportedOpError(`${folder.name}: modules.json has no Pooling; pass { pooling }`, {
      missing: ["Pooling"],
    });
  return {
    prompts: await readPrompts(folder),
    ways,
    countsPrompt: json?.["include_prompt"] !== false,
    steps: await readSteps(folder, modules ?? []),
    normalize: given.normalize ?? endsUnit(modules),
  };
}

/** Whether vectors end with length 1. They do where nothing is said. */
const endsUnit = (modules: readonly Module[] | undefined): boolean =>
  modules === undefined || modules.at(-1)?.kind === "Normalize";

/** Those after the encoder. Undefined where there is no `modules.json`. */
async function readModules(folder: ModelFolder): Promise<readonly Module[] | undefined> {
  const list: unknown = await folder.optionalJson("modules.json");
  if (list === undefined) return undefined;
  const isModule = (m: Partial<Json> | null): boolean =>
    typeof m?.["type"] === "string" && typeof m["path"] === "string";
  if (!Array.isArray(list) || !list.every(isModule))
    throw new FormatError(`${folder.name}: modules.json is no list of modules with "type" and "path"`);
  const [first, ...rest] = (list as { type: string; path: string }[]).map(
    ({ type, path }): Module => ({ kind: type.split(".").at(-1)!, path }),
  );
  if (first?.kind !== "Transformer" || first.path !== "")
    throw new UnsupportedOpError(
      `${folder.name}: modules.json begins with "${first?.kind}" in "${first?.path}"; supported is a Transformer in the folder itself`,
      { missing: [String(first?.kind)] },
    );
  return rest;
}

/** Undefined where nothing says how to pool. */
async function poolingBeside(folder: ModelFolder, modules: readonly Module[] | undefined): Promise<Json | undefined> {
  if (!modules) return folder.optionalJson("1_Pooling/config.json");
  const module = modules.find((m) => m.kind === "Pooling");
  return module && folder.json(`${module.path}/config.json`);
}

/** By flags (`pooling_mode_mean_tokens`) or, in newer files, by name and in their order. Nothing said is the mean. */
function waysIn(name: string, json: Json): readonly Pooling[] {
  const flags = Object.keys(json).filter((key) => key.startsWith("pooling_mode_") && json[key] === true);
  const listed = json["pooling_mode"];
  const byName = listed !== undefined && listed !== null;
  const given = byName ? [listed].flat().map(String) : flags;
  const names = given.map((name) => name.replace(/^pooling_mode_|_tokens?$/g, ""));
  if (!names.every(isPooling))
    throw new UnsupportedOpError(`${name}: pooling by ${names.join(", ")} is not supported; pass { pooling }`, {
      missing: names,
    });
  if (names.length > 0) return byName ? names : poolingsWhere((way) => names.includes(way));
  if (json["pooling_mode_mean_tokens"] === false)
    throw new FormatError(`${name}: none of the ways to pool is true; pass { pooling }`);
  return ["mean"];
}

/** What comes between pooling and the end. */
async function readSteps(folder: ModelFolder, modules: readonly Module[]): Promise<VectorStep[]> {
  const steps: VectorStep[] = [];
  let pooled = false;
  for (const [i, module] of modules.entries()) {
    const { kind } = module;
    // Dropout does something in training only.
    if (kind === "Dropout") continue;
    if (kind === "Pooling" && !pooled && steps.length === 0) pooled = true;
    else if (kind === "Dense") steps.push(await readDense(folder, module));
    else if (kind !== "Normalize")
      throw new UnsupportedOpError(
        `${folder.name}: the module "${kind}" of modules.json is not supported where it stands; known: one Pooling, then Dense, ` +
          "Normalize and Dropout",
        { missing: [kind] },
      );
    else if (i < modules.length - 1) steps.push({ name: module.path, apply: unit });
  }
  return steps;
}

/** By PyTorch's names. */
const activations: Readonly<Record<string, (x: number) => number>> = {
  Identity: (x) => x,
  Tanh: Math.tanh,
  ReLU: (x) => Math.max(0, x),
  GELU: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

/** Of a matrix whose rows are as long as the vector. */
function dotRow(matrix: Float32Array, row: number, v: Float32Array): number {
  let sum = 0;
  for (let j = 0; j < v.length; j++) sum += matrix[row * v.length + j] * v[j];
  return sum;
}

async function readDense(folder: ModelFolder, { path }: Module): Promise<VectorStep> {
  const json = await folder.json(`${path}/config.json`);
  // Where nothing is said, as sentence-transformers makes one.
  const activation = String(json["activation_function"] ?? "Tanh")
    .split(".")
    .at(-1)!;
  const strange = [json["module_input_name"], json["module_output_name"]].find((n) => n && n !== "sentence_embedding");
  if (strange !== undefined || !Object.hasOwn(activations, activation))
    throw new UnsupportedOpError(
      `${folder.name}: ${path}/config.json: a layer of ${strange ?? activation} is not supported; known: one of ` +
        `sentence_embedding with ${Object.keys(activations).join(", ")}`,
      { missing: [String(strange ?? activation)] },
    );
  const source = await folder.first([`${path}/model.safetensors`]);
  if (!source)
    throw new UnsupportedOpError(
      `${folder.name}: there is no ${path}/model.safetensors; weights in pytorch_model.bin are not read: save the model again ` +
        "with a newer sentence-transformers",
      { missing: [`${path}/model.safetensors`] },
    );
  const { tensors } = await readSafetensors(source);
  const [weight, bias, residual] = await Promise.all(
    ["linear.weight", "linear.bias", "residual.weight"].map((name) => tensors.get(name)?.read()),
  );
  const [gives, takes] = weight?.shape ?? [];
  if (!weight || takes === undefined || (bias ? bias.shape[0] !== gives : json["bias"] !== false))
    throw new FormatError(`${source.name}: a Dense module has linear.weight [out, in] and linear.bias [out]`);
  const adds = json["use_residual"] === true;
  if (adds && takes !== gives && (residual?.shape[0] !== gives || residual.shape[1] !== takes))
    throw new FormatError(
      `${source.name}: the Dense module has use_residual, and no residual.weight [${gives}, ${takes}]`,
    );
  const offsets = bias && asF32(bias).data;
  const direct = takes !== gives && residual && asF32(residual).data;
  const product = matrixStep(path, asF32(weight));
  return {
    ...product,
    apply: (v) =>
      product.apply(v).map((sum, i) => {
        const made = activations[activation](sum + (offsets?.[i] ?? 0));
        return adds ? made + (direct ? dotRow(direct, i, v) : v[i]) : made;
      }),
  };
}

/** The product with a matrix [out, in]. */
export function matrixStep(name: string, matrix: { shape: readonly number[]; data: Float32Array }): VectorStep {
  const { data } = matrix;
  const [gives, takes] = matrix.shape;
  return {
    name,
    takes,
    gives,
    apply(v) {
      checkWidth(name, takes, v.length);
      return Float32Array.from({ length: gives }, (_, i) => dotRow(data, i, v));
    },
  };
}

function checkWidth(name: string, takes: number, width: number): void {
  if (takes !== width)
    throw new FormatError(
      `"${name}" takes vectors of ${takes} elements and gets ${width}: pass a { pooling } that fits`,
    );
}

/** Elements of a vector after the steps, as far as is known. @throws FormatError for steps that don't fit */
export function widthAfter(steps: readonly VectorStep[], width: number | undefined): number | undefined {
  return steps.reduce((now, { name, takes, gives }) => {
    if (now !== undefined && takes !== undefined) checkWidth(name, takes, now);
    return gives ?? now;
  }, width);
}

export function unit(v: Float32Array): Float32Array {
  const norm = Math.hypot(...v) || 1;
  return v.map((x) => x / norm);
}

/** What `config_sentence_transformers.json` says. */
async function readPrompts(folder: ModelFolder): Promise<Prompts> {
  const json = (await folder.optionalJson("config_sentence_transformers.json")) ?? {};
  const given = Object.entries((json["prompts"] as Json | undefined) ?? {});
  const texts = Object.fromEntries(given.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  const name = json["default_prompt_name"];
  if (name === undefined || name === null) return { texts, usual: "" };
  if (typeof name !== "string" || !Object.hasOwn(texts, name))
    throw new FormatError(
      `${folder.name}: config_sentence_transformers.json: there is no prompt ${JSON.stringify(name)}, its default; there are: ` +
        Object.keys(texts).join(", "),
    );
  return { texts, usual: texts[name] };
}
