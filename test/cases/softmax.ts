import fc from "fast-check";
import { softmax } from "../../src/ops/softmax.ts";
import { opCase, shapeOf, tensorOf } from "./case.ts";

export const softmaxCases = {
  softmax: shapeOf(1, 4).chain((shape) =>
    fc
      .record({ x: tensorOf(shape), axis: fc.integer({ min: -shape.length, max: shape.length - 1 }) })
      .map(({ x, axis }) => opCase(softmax, [x], { axis })),
  ),
};
