/** Inputs and outputs of a decoder as Hugging Face Optimum and onnxruntime-genai name them. */
import type { Graph, GraphPort, ValueId } from "../../../graph/ir.ts";
import { Unrecognised } from "./unrecognised.ts";

/** Keys or values of one layer: [1, heads, positions, dim]. */
export interface CachePort {
  readonly port: GraphPort;
  readonly layer: number;
  readonly kind: "key" | "value";
  /** Of what the encoder heard, which stays as it is. */
  readonly encoder: boolean;
  readonly heads: number;
  readonly dim: number;
  /** Where a graph gives it. */
  readonly present: GraphPort;
}

export interface DecoderPorts {
  readonly tokens: GraphPort;
  readonly mask?: GraphPort;
  readonly positions?: GraphPort;
  /** What the encoder gave. */
  readonly hidden?: GraphPort;
  /** Chooses the branch with caches. */
  readonly branch?: GraphPort;
  readonly caches: readonly CachePort[];
  readonly logits: GraphPort;
}

const pastName = /^past_key_values\.(\d+)\.(?:(encoder|decoder)\.)?(key|value)$/;
export const isPast = (name: string): boolean => pastName.test(name);
export const presentOf = (past: string): string => past.replace(/^past_key_values\./, "present.");

/** @throws Unrecognised for a graph without caches, or with inputs of another kind */
export function decoderPorts({ inputs, outputs }: Graph): DecoderPorts {
  const take = (name: string): GraphPort | undefined => inputs.find((p) => p.name === name);
  const need = (ports: readonly GraphPort[], name: string): GraphPort =>
    ports.find((p) => p.name === name) ?? fail(`it has no "${name}"`);
  const caches = inputs.flatMap((port): CachePort[] => {
    const parts = pastName.exec(port.name);
    if (!parts) return [];
    const [heads, dim] = [port.shape?.[1], port.shape?.[3]];
    if (port.shape?.length !== 4 || typeof heads !== "number" || typeof dim !== "number")
      fail(`"${port.name}" is not [batch, heads, positions, dim]`);
    return [
      {
        port,
        layer: Number(parts[1]),
        kind: parts[3] as "key" | "value",
        encoder: parts[2] === "encoder",
        heads: heads as number,
        dim: dim as number,
        present: need(outputs, presentOf(port.name)),
      },
    ];
  });
  if (caches.length === 0) fail("it has no past_key_values");
  const ports = {
    tokens: need(inputs, "input_ids"),
    mask: take("attention_mask"),
    positions: take("position_ids"),
    hidden: take("encoder_hidden_states"),
    branch: take("use_cache_branch"),
  };
  const known = new Set<ValueId>(
    [...Object.values(ports), ...caches.map((c) => c.port)].flatMap((p) => (p ? [p.id] : [])),
  );
  const other = inputs.find((p) => !known.has(p.id) && !p.default);
  if (other) fail(`it has an input "${other.name}"`);
  return { ...ports, caches, logits: need(outputs, "logits") };
}

function fail(why: string): never {
  throw new Unrecognised(why);
}
