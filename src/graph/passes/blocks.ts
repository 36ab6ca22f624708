/** Fusions of whole blocks: for graphs with a softmax or a mean, and loaded for them. */
import { attention } from "../../ops/attention.ts";
import { layerNorm } from "../../ops/layer-norm.ts";
import type { OpDef } from "../../ops/op.ts";
import { transpose } from "../../ops/transpose.ts";
import { fuseAttention, packAttention } from "./attention.ts";
import { reshapeLater } from "./heads.ts";
import { fuseLayerNorm } from "./layernorm.ts";
import type { Rule } from "./rewrite.ts";

export const blockRules: readonly Rule[] = [fuseLayerNorm, reshapeLater, fuseAttention, packAttention];

/** What they put in the place of patterns that have the operator of that name. */
export const blockOps: Readonly<Record<string, readonly OpDef[]>> = {
  reduceMean: [layerNorm.op],
  softmax: [attention.op, transpose.op],
};
