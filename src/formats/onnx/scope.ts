/** What names mean where a node stands. */
import type { GraphBuilder, SymbolicValue } from "../../graph/builder.ts";
import { FormatError } from "../../tensor/errors.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** Thrown where a value depends on a node that could not be lowered, which has been reported already. */
export class Poisoned extends Error {}

const poison = Symbol("poison");

/**
 * The names of one graph. A nested graph has a builder of its own and sees the enclosing names: constants are shared,
 * everything else becomes a capture, an input of its own. A scope with its parent's builder is written into the parent.
 */
export class Scope {
  private readonly values = new Map<string, SymbolicValue | undefined | typeof poison>();
  private readonly initializers = new Map<string, () => HostTensor>();
  /** Values of the enclosing builder, in the order of the inputs that stand for them here. */
  readonly captures: SymbolicValue[] = [];

  constructor(
    readonly builder: GraphBuilder,
    private readonly parent?: Scope,
  ) {}

  has(name: string): boolean {
    return this.values.has(name) || this.initializers.has(name);
  }

  /** Undefined: an optional value that the caller left out. */
  define(name: string, value: SymbolicValue | undefined): void {
    if (this.has(name)) throw new FormatError(`onnx: "${name}" is defined twice`);
    this.values.set(name, value);
  }

  /** A constant that is made when it is first used. */
  initialize(name: string, tensor: () => HostTensor): void {
    if (this.has(name)) throw new FormatError(`onnx: "${name}" is defined twice`);
    this.initializers.set(name, tensor);
  }

  poison(name: string): void {
    this.values.set(name, poison);
  }

  /** @throws FormatError when no graph around defines the name */
  find(name: string): SymbolicValue | undefined {
    if (this.values.has(name)) {
      const value = this.values.get(name);
      if (value === poison) throw new Poisoned();
      return value as SymbolicValue | undefined;
    }
    const value = this.resolve(name);
    this.values.set(name, value);
    return value;
  }

  private resolve(name: string): SymbolicValue | undefined {
    const { builder, parent } = this;
    const tensor = this.initializers.get(name);
    if (tensor) return builder.constant(tensor());
    if (!parent) throw new FormatError(`onnx: nothing produces "${name}"`);
    const outer = parent.find(name);
    if (!outer || parent.builder === builder) return outer;
    if (outer.constant) return builder.constant(outer.constant);
    this.captures.push(outer);
    return builder.input(name, outer.type?.dtype, outer.type?.shape);
  }
}
