/** What stands for inputs that are not there yet. Loaded by who warms up. */
import { InputError } from "../tensor/errors.ts";
import { emptyTensor, type HostTensor } from "../tensor/tensor.ts";
import { declared } from "./inputs.ts";
import type { GraphPort } from "./ir.ts";

/** @param sizes of the free dimensions, by name @throws InputError */
export function zeros(
  ports: readonly GraphPort[],
  sizes: Readonly<Record<string, number>>,
): Record<string, HostTensor> {
  const names = new Set(ports.flatMap(({ shape = [] }) => shape.filter((d) => typeof d === "string")));
  for (const name of Object.keys(sizes))
    if (!names.has(name))
      throw new InputError(
        `warmup: no input has a dimension "${name}"; there are ${[...names].map((d) => `"${d}"`).join(", ") || "none"}`,
      );
  return Object.fromEntries(ports.filter((p) => !p.default).map((p) => [p.name, zerosFor(p, sizes)]));
}

function zerosFor(port: GraphPort, sizes: Readonly<Record<string, number>>): HostTensor {
  const { name, dtype, shape } = port;
  if (!dtype || !shape) throw new InputError(`warmup: input "${name}" (${declared(port)}) has no type: run the model`);
  const dims = shape.map((d) => {
    const size = typeof d === "number" ? d : sizes[d];
    if (!(size >= 0)) throw new InputError(`warmup: input "${name}" is ${declared(port)}: pass { "${d}": size }`);
    return size;
  });
  return emptyTensor({ dtype, shape: dims });
}
