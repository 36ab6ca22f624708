/** Which outputs of a run are given, and which of them stay on the device. */
import { DeviceTensor } from "../tensor/device-tensor.ts";
import { InputError } from "../tensor/errors.ts";
import { type AnyValue, isHostTensor } from "../tensor/tensor.ts";
import type { GraphPort, ValueId } from "./ir.ts";

export interface Selection {
  readonly kept?: ReadonlySet<GraphPort>;
  /** Missing: all. */
  readonly wanted?: ReadonlySet<GraphPort>;
}

interface SelectionOptions {
  readonly keepOnDevice?: boolean | readonly string[];
  readonly outputs?: readonly string[];
}

const all: Selection = {};

/** @throws InputError for names of no outputs */
export function selectionOf(ports: readonly GraphPort[], { keepOnDevice, outputs }: SelectionOptions): Selection {
  if (!keepOnDevice && outputs === undefined) return all;
  const wanted = outputs === undefined ? undefined : portsNamed(ports, "run: outputs", outputs);
  const stay =
    keepOnDevice &&
    (keepOnDevice === true ? ports : [...portsNamed(ports, "run: keepOnDevice", keepOnDevice, "true, or ")]);
  return { kept: stay ? new Set(stay.filter((p) => wanted?.has(p) !== false)) : undefined, wanted };
}

/**
 * @param option whose it is, for errors
 * @param also what else it takes
 * @throws InputError for names of no outputs
 */
export function portsNamed(
  ports: readonly GraphPort[],
  option: string,
  names: readonly string[],
  also = "",
): ReadonlySet<GraphPort> {
  if (!Array.isArray(names))
    throw new InputError(`${option} takes ${also}an array of outputs' names, got ${JSON.stringify(names)}`);
  return new Set(
    names.map((name) => {
      const port = ports.find((p) => p.name === name);
      if (port) return port;
      const known = ports.map((p) => `"${p.name}"`).join(", ");
      throw new InputError(`${option}: the model has no output "${name}"; it has ${known || "none"}`);
    }),
  );
}

/** The values of these outputs. */
export function idsOf(ports: ReadonlySet<GraphPort> | undefined): ReadonlySet<ValueId> | undefined {
  if (!ports) return undefined;
  const ids = new Set<ValueId>();
  for (const { id } of ports) ids.add(id);
  return ids;
}

/** The results of a run by name. */
export function named(ports: readonly GraphPort[], results: readonly AnyValue[], { kept, wanted }: Selection): object {
  const outputs: Record<string, AnyValue> = {};
  for (let i = 0; i < ports.length; i++) {
    const port = ports[i];
    if (wanted && !wanted.has(port)) continue;
    const v = results[i];
    outputs[port.name] = kept?.has(port) && isHostTensor(v) ? new DeviceTensor(v, v) : v;
  }
  return outputs;
}
