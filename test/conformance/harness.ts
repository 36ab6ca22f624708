/** Where the ONNX conformance cases are, and which of them no engine can pass. */
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { DeviceChoice } from "../../src/index.ts";
import { type Case, runCaseFrom } from "./run.ts";

export const casesRoot = new URL("../../../shared/conformance/dev/", import.meta.url);

/** Undefined where the cases are not on this machine. */
export function readManifest(): Case[] | undefined {
  const path = fileURLToPath(new URL("manifest.json", casesRoot));
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Case[]) : undefined;
}

/** Cases that no inference engine can pass as they are written, with the reason. */
const random = "expects the numbers of one particular random generator";
const image = "decodes an image file: no part of running a model";
export const skipped: Readonly<Record<string, string>> = {
  "node/test_bernoulli_seed": random,
  "node/test_bernoulli_seed_expanded": random,
  "node/test_image_decoder_decode_jpeg2k_rgb": image,
  "simple/test_gradient_of_add_and_mul": "computes a gradient: models are frozen here",
};

/** Runs every data set of a case. Returns what is wrong, or undefined. */
export const runCase = (c: Case, device: DeviceChoice): Promise<string | undefined> =>
  runCaseFrom((path) => readFile(new URL(path, casesRoot)), c, device);
