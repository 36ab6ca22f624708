/**
 * The errors that forwardpass throws. All share one base class, so `catch (e) { if (e instanceof ForwardpassError) }`
 * tells an engine error from a bug. Message form: `matmul: inner dimensions differ: f32[2,3] and f32[4,5] (node "/l0/q")`.
 */

export interface ErrorContext {
  /** Operator name, ours (`matmul`) or the format's (`ai.onnx::MatMul`). */
  op?: string;
  /** Name of the graph node. */
  node?: string;
  /** The types involved, printed: `f32[2,3]`. */
  types?: readonly string[];
  /** Byte offset in the file, for format errors. */
  offset?: number;
  cause?: unknown;
}

export class ForwardpassError extends Error {
  /** Spelled out here and below: minifiers rename classes. */
  override name = "ForwardpassError";
  // Only what is known becomes a property: consoles print every one.
  declare op?: string;
  declare node?: string;
  declare types?: readonly string[];
  declare readonly offset?: number;

  constructor(message: string, { op, node, types, offset, cause }: ErrorContext = {}) {
    super(message, cause === undefined ? undefined : { cause });
    Object.assign(this, op && { op }, node && { node }, types && { types }, offset !== undefined && { offset });
  }

  /** Adds the node's name when the error passes the place that knows it. Keeps the first name given. */
  at(node: string | undefined): this {
    if (node && this.node === undefined) {
      this.node = node;
      this.message += ` (node "${node}")`;
    }
    return this;
  }
}

/** Shapes, axes or attribute values that don't fit together. */
export class ShapeError extends ForwardpassError {
  override name = "ShapeError";
}
/** An element type that the operator or the input doesn't take. */
export class DTypeError extends ForwardpassError {
  override name = "DTypeError";
}
/** Wrong or missing inputs by name, wrong arguments of a public function. */
export class InputError extends ForwardpassError {
  override name = "InputError";
  /** A file that isn't there: one that is optional may be left out. */
  declare readonly notFound?: boolean;
  constructor(message: string, context: ErrorContext & { notFound?: boolean } = {}) {
    super(message, context);
    if (context.notFound) this.notFound = true;
  }
}
/** An operator, attribute or feature that isn't implemented. `missing` lists every one found. */
export class UnsupportedOpError extends ForwardpassError {
  override name = "UnsupportedOpError";
  readonly missing: readonly string[];
  constructor(message: string, context: ErrorContext & { missing?: readonly string[] } = {}) {
    super(message, context);
    this.missing = context.missing ?? [];
  }
}
/** A file that is truncated, corrupt or not of the format it claims. `offset` is the byte position where known. */
export class FormatError extends ForwardpassError {
  override name = "FormatError";
}
/** The device (worker, GPU, WebAssembly) is missing, lost, out of memory or failed. */
export class DeviceError extends ForwardpassError {
  override name = "DeviceError";
}
/** A tensor or session was used after `dispose()`. */
export class DisposedError extends ForwardpassError {
  override name = "DisposedError";
}
/** A peer package that this call needs is not installed, or does not load. */
export class MissingPeerError extends ForwardpassError {
  override name = "MissingPeerError";
}
