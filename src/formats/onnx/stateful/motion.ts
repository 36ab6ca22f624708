/**
 * How values that shapes and masks decide change with the number of cached tokens: not at all, all elements by that number
 * (positions), or otherwise. Told by comparing probes.
 */
import type { ValueId } from "../../../graph/ir.ts";
import { toF64 } from "../../../tensor/convert.ts";
import { sameShape } from "../../../tensor/shape.ts";
import type { HostTensor } from "../../../tensor/tensor.ts";
import type { Probe } from "./probe.ts";

export type Motion = "still" | "moves" | "other";

export class Motions {
  private readonly known = new Map<ValueId, Motion>();

  /**
   * @param groups of probes with equal numbers of new tokens, the first without a past
   * @param others what else may differ from run to run
   */
  constructor(
    private readonly groups: readonly (readonly [Probe, ...Probe[]])[],
    private readonly others: readonly Probe[],
  ) {}

  /** Its value, where that is the same in every probe. */
  constantOf(id: ValueId): HostTensor | undefined {
    const [first, ...rest] = [...this.groups.flat(), ...this.others].map((p) => p.valueOf(id));
    return first && rest.every((v) => v && sameValue(v, first)) ? first : undefined;
  }

  /** Whether shapes and masks decide it. */
  isStatic(id: ValueId): boolean {
    return this.groups.every((g) => g.every((p) => p.valueOf(id) !== undefined));
  }

  hasSameShape(id: ValueId): boolean {
    return this.groups.every(([first, ...rest]) =>
      rest.every((p) => sameShape(p.typeOf(id).shape, first.typeOf(id).shape)),
    );
  }

  of(id: ValueId): Motion {
    let motion = this.known.get(id);
    if (!motion) this.known.set(id, (motion = this.compare(id)));
    return motion;
  }

  private compare(id: ValueId): Motion {
    if (!this.isStatic(id) || !this.hasSameShape(id)) return "other";
    let [still, moves] = [true, true];
    for (const [first, ...rest] of this.groups) {
      const start = first.valueOf(id)!;
      if (start.dtype === "string") return "other";
      const from = toF64(start);
      for (const probe of rest) {
        const to = toF64(probe.valueOf(id)!);
        const { past } = probe.setting;
        // NaN and infinities are still, and never positions.
        still &&= to.every((v, i) => Object.is(v, from[i]));
        moves &&= to.every((v, i) => v - from[i] === past);
      }
    }
    return still ? "still" : moves ? "moves" : "other";
  }
}

const sameValue = (a: HostTensor, b: HostTensor): boolean =>
  sameShape(a.shape, b.shape) && (a.data as unknown[]).every((v, i) => Object.is(v, b.data[i]));
