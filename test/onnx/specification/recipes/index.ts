/** Recipes of all operators. Those that aren't listed take two tensors of one shape, or as many as they have. */
import type { Recipes } from "../recipe.ts";
import { controlRecipes } from "./control.ts";
import { elementwiseRecipes } from "./elementwise.ts";
import { mlRecipes } from "./ml.ts";
import { movementRecipes } from "./movement.ts";
import { networkRecipes } from "./network.ts";
import { quantizeRecipes } from "./quantize.ts";
import { reduceRecipes } from "./reduce.ts";
import { signalRecipes } from "./signal.ts";
import { stringsRecipes } from "./strings.ts";
import { windowRecipes } from "./window.ts";

/** Operators of domains other than ai.onnx by `domain::name`. */
export const recipes: Readonly<Record<string, Recipes>> = {
  ...controlRecipes,
  ...elementwiseRecipes,
  ...mlRecipes,
  ...movementRecipes,
  ...networkRecipes,
  ...quantizeRecipes,
  ...reduceRecipes,
  ...signalRecipes,
  ...stringsRecipes,
  ...windowRecipes,
};
