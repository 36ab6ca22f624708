/**
 * Epilogues: what a matmul or convolution can do to its result before storing it, `act(product + bias + residual)`.
 * A closed list, fused one piece at a time; the operator stays the same and gains an input or an attribute.
 *
 * Legal when the product has no other reader, lacks this piece and every later one, and the piece doesn't change the
 * result's shape.
 */
import { type Activation, activationOf } from "../../ops/activation.ts";
import { toNumbers } from "../../tensor/convert.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { sameShape, sizeOf } from "../../tensor/shape.ts";
import { type HostTensor, reshaped } from "../../tensor/tensor.ts";
import type { Node, ValueId } from "../ir.ts";
import type { RewriteContext, Rule } from "./rewrite.ts";

/** Operators with inputs [a, b, bias?, residual?] and the attribute `activation`. */
const hosts = new Set(["matmul", "gemm", "conv", "convTranspose"]);
const biasInput = 2;
const residualInput = 3;

/** The product that `id` is, if an epilogue may still be added to it. */
function open(
  id: ValueId | undefined,
  context: RewriteContext,
  piece: "bias" | "residual" | "activation",
): Node | undefined {
  const node = id === undefined ? undefined : context.producer(id);
  if (!node || !hosts.has(node.op.name) || context.uses(node.outputs[0]) !== 1) return undefined;
  if (node.attrs["activation"]) return undefined;
  const taken = piece === "activation" ? [] : piece === "residual" ? [residualInput] : [biasInput, residualInput];
  if (taken.some((i) => node.inputs[i] !== undefined)) return undefined;
  return taken.every((i) => i < node.op.inputs.length) ? node : undefined;
}

const withInput = (node: Node, i: number, id: ValueId, outputs: readonly ValueId[]): Node => {
  const inputs = Array.from({ length: Math.max(node.inputs.length, i + 1) }, (_, k) => (k === i ? id : node.inputs[k]));
  return { ...node, inputs, outputs };
};

/** add(product, constant over the output channels) -> product with bias. */
export const fuseBias: Rule = (node, context) => {
  if (node.op.name !== "add") return undefined;
  for (const [i, other] of [
    [0, 1],
    [1, 0],
  ]) {
    const product = open(node.inputs[i], context, "bias");
    const constant = context.constant(node.inputs[other]!);
    const type = context.type(node.outputs[0]);
    if (!product || !constant || !type || !sameShape(type.shape, context.type(node.inputs[i]!)!.shape)) continue;
    // A product with a vector has no column axis; a gemm's own factor would scale the new bias.
    if (context.type(product.inputs[1]!)!.shape.length < 2 || ((product.attrs["beta"] as number) ?? 1) !== 1) continue;
    const channelAxis = product.op.name.startsWith("conv") ? 1 : type.shape.length - 1;
    const bias = alongAxis(constant, type.shape, channelAxis);
    if (bias) return [withInput(product, biasInput, context.addConstant(bias), node.outputs)];
  }
  return undefined;
};

/** The constant as a vector if it varies along `axis` of `shape` alone. */
function alongAxis(t: HostTensor, shape: readonly number[], axis: number): HostTensor | undefined {
  const lead = shape.length - t.shape.length;
  const channels = shape[axis];
  if (sizeOf(t.shape) !== channels || t.shape.some((d, i) => d !== (i + lead === axis ? channels : 1)))
    return undefined;
  return reshaped(t, [channels]);
}

/** add(product, tensor of the same shape) -> product with residual. */
export const fuseResidual: Rule = (node, context) => {
  if (node.op.name !== "add") return undefined;
  const [a, b] = node.inputs.map((id) => context.type(id!));
  if (!a || !b || !sameShape(a.shape, b.shape)) return undefined;
  // The later product takes the earlier value: both are there when it runs.
  for (const [i, other] of [
    [1, 0],
    [0, 1],
  ]) {
    const product = open(node.inputs[i], context, "residual");
    if (product && node.inputs[i] !== node.inputs[other])
      return [withInput(product, residualInput, node.inputs[other]!, node.outputs)];
  }
  return undefined;
};

/** activation(product) -> product with activation. */
export const fuseActivation: Rule = (node, context) => {
  const activation = activationOfNode(node, context);
  const type = context.type(node.outputs[0]);
  if (!activation || !type || !isFloat(type.dtype)) return undefined;
  const product = open(node.inputs[0], context, "activation");
  return product && [{ ...product, attrs: { ...product.attrs, activation }, outputs: node.outputs }];
};

function activationOfNode(node: Node, context: RewriteContext): Activation | undefined {
  if (node.op.name !== "clip") return activationOf(node.op.name, node.attrs);
  const bounds = node.inputs.slice(1).map((id) => (id === undefined ? undefined : context.constant(id)));
  if (node.inputs.slice(1).some((id, i) => id !== undefined && !bounds[i])) return undefined;
  const [min, max] = bounds.map((t) => t && toNumbers(t)[0]);
  return { kind: "clip", min: min ?? -Infinity, max: max ?? Infinity };
}
