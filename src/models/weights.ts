/** Named weights, as safetensors files hold them (PyTorch's state_dict names). */
import { InputError, ShapeError } from "../tensor/errors.ts";
import { formatType, type Shape } from "../tensor/shape.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export type Weights = ReadonlyMap<string, HostTensor>;

/** @throws InputError for what is no Map of tensors */
export function checkWeights(who: string, weights: Weights): void {
  if (typeof weights?.get !== "function" || typeof weights.has !== "function" || typeof weights.keys !== "function")
    throw new InputError(`${who}: weights are a Map of tensors by name, as new Map([["fc1.weight", hostTensor(...)]])`);
  for (const [name, t] of weights)
    if (!Array.isArray(t?.shape)) throw new InputError(`${who}: weight "${name}" is no tensor, as hostTensor([1, 2])`);
}

/** The weight of that name. InputError if there is none, ShapeError if it isn't of the shape (-1: any size). */
export function weightOf<W extends { readonly shape: Shape; readonly dtype?: string; readonly type?: string }>(
  weights: ReadonlyMap<string, W>,
  name: string,
  shape?: Shape,
): W {
  const t = weights.get(name);
  if (!t)
    throw new InputError(`weights: there is no "${name}"; there are ${[...weights.keys()].slice(0, 20).join(", ")}`);
  if (shape && !(t.shape.length === shape.length && shape.every((d, i) => d === -1 || d === t.shape[i])))
    throw new ShapeError(
      `weights: "${name}" is ${formatType({ dtype: t.dtype ?? t.type ?? "", shape: t.shape })}, expected [${shape.map((d) => (d === -1 ? "any" : d))}]`,
    );
  return t;
}

/** What `pattern` finds in the names of weights, once each, by the number in it: `conv2` comes before `conv10`. */
export function numbered(weights: Weights, pattern: RegExp): string[] {
  const found = [...weights.keys()].flatMap((name) => pattern.exec(name)?.[1] ?? []);
  const numberOf = (name: string): number => Number(/\d+/.exec(name)?.[0]);
  return [...new Set(found)].sort((a, b) => numberOf(a) - numberOf(b));
}
