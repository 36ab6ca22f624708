/** What stands for inputs that are not there yet. Loaded by who warms up. */
import { InputError } from "../tensor/errors.ts";
import { emptyTensor, type HostTensor } from "../tensor/tensor.ts";
import { declared } from "./inputs.ts";
import type { GraphPort } from "./ir.ts";

/** @param sizes of the free dimensions, by name @throws InputError */
export function zeros(port: GraphPort, sizes: Readonly<Record<string, number>>): HostTensor {
  const { name, dtype, shape } = port;
  if (!dtype || !shape) throw new InputError(`warmup: input "${name}" (${declared(port)}) has no type: run the model`);
  const dims = shape.map((d) => {
    const size = typeof d === "number" ? d : sizes[d];
    if (!(size >= 0)) throw new InputError(`warmup: input "${name}" is ${declared(port)}: pass { "${d}": size }`);
    return size;
  });
  return emptyTensor({ dtype, shape: dims });
}
