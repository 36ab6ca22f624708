/** Shapes of inputs that a model leaves open: as the command line says, or small ones that the model can take. */
import type { ValueInfo } from "../graph/ir.ts";
import { knownShapes, type PlanPreview, previewPlan } from "../graph/preview.ts";
import type { Session } from "../graph/session.ts";
import { ShapeError } from "../tensor/errors.ts";
import { type Arguments, type Option, UsageError } from "./command.ts";

export const shapeOption: Option = {
  type: "string",
  multiple: true,
  value: "NAME=1,3,224,224",
  help: "the shape of an input, which others follow by their dimensions' names; what is free then is small",
};

/** What `--shape` says, by name. */
export function shapesIn(args: Arguments): Record<string, number[]> {
  const shapes: Record<string, number[]> = {};
  for (const text of (args.options["shape"] ?? []) as string[]) {
    const [, name, dims] = /^(.+)=(\s*\d+\s*(?:,\s*\d+\s*)*)$/s.exec(text) ?? [];
    if (name === undefined) throw new UsageError(`--shape ${text}: write NAME=1,3,224,224`);
    if (Object.hasOwn(shapes, name)) throw new UsageError(`--shape ${text}: "${name}" is given twice`);
    shapes[name] = dims.split(",").map(Number);
  }
  return shapes;
}

/** The same for inputs that the model has. */
export function shapesOf(args: Arguments, inputs: readonly ValueInfo[]): Record<string, number[]> {
  const shapes = shapesIn(args);
  for (const name of Object.keys(shapes))
    if (!inputs.some((p) => p.name === name))
      throw new UsageError(
        `--shape ${name}=...: write NAME=1,3,224,224 with one of the inputs ${inputs.map((p) => p.name).join(", ")}`,
      );
  return shapes;
}

/** What to take for free dimensions: a convolutional network may need more than 1 of each. */
const guesses = [1, 64, 256];

/** Undefined where the shapes are for the caller to choose, and none of the guesses will do. */
export function estimate(model: Session, shapes: Record<string, number[]>): PlanPreview | undefined {
  const open = Object.values(knownShapes(model, shapes)).some((shape) => shape?.some((d) => typeof d !== "number"));
  for (const free of open ? guesses : [1])
    try {
      return previewPlan(model, shapes, free);
    } catch (e) {
      if (!open || !(e instanceof ShapeError)) throw e;
    }
  return undefined;
}

/** `f32[batch, 3]`, or `sequence` for what may be any value. */
export const typeText = ({ dtype, shape }: ValueInfo): string =>
  dtype ? `${dtype}[${shape?.join(", ") ?? "?"}]` : "sequence";
