/** Activations by the names that `config.json` files use. */
import type { BlockActivation } from "../models/transformer/blocks.ts";
import { UnsupportedOpError } from "../tensor/errors.ts";

const activations: Readonly<Record<string, BlockActivation>> = {
  silu: "silu",
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  relu: "relu",
};

/** @throws UnsupportedOpError for a name that is not known */
export function activationOf(file: string, name: unknown): BlockActivation {
  const key = String(name);
  if (!Object.hasOwn(activations, key))
    throw new UnsupportedOpError(`${file}: activation "${key}" is not known`, { missing: [key] });
  return activations[key];
}
