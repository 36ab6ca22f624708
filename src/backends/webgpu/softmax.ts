/** softmax, its logarithm and its limit along an axis. Rows by rows.ts, in three walks: maximum, sum, result. */
import { hardmax, logSoftmax, softmax } from "../../ops/index.ts";
import { normalizeAxis } from "../../tensor/shape.ts";
import { addition } from "./reduction.ts";
import { isShort, type RowValue, rowDispatch, rowsAlong } from "./rows.ts";
import { type GpuKernels, gpuKernel } from "./step.ts";
import { storageOf } from "./target.ts";
import { loaded, read, stored, write } from "./wgsl.ts";

const largest: RowValue = {
  name: "largest",
  type: "f32",
  combine: (a, b) => `max(${a}, ${b})`,
  subgroup: "subgroupMax",
};
const sum: RowValue = { name: "together", type: "f32", ...addition };
const first: RowValue = { name: "first", type: "u32", combine: (a, b) => `min(${a}, ${b})`, subgroup: "subgroupMin" };

export const softmaxKernels: GpuKernels = (target) =>
  [true, false].flatMap((short) =>
    [softmax, logSoftmax, hardmax].map((op) => {
      const { name } = op.op;
      return gpuKernel(op, `webgpu/${name}/${short ? "rows" : "group"}`, ([x], _, { axis = -1 }) => {
        const storage = storageOf(target, x.dtype);
        const rows = rowsAlong(x.shape, x.shape.length === 0 ? [] : [normalizeAxis(name, axis, x.shape.length)]);
        if (!storage || isShort(rows) !== short) return undefined;
        const v = (at: string) => loaded(storage, 1, `x[${at}]`);
        const put = (at: string, value: string) => `y[${at}] = ${stored(storage, 1, value)};`;
        const dispatch = rowDispatch(target, rows, {
          bindings: [read("x", { input: 0 }, storage.element), write("y", { output: 0 }, storage.element)],
          values: name === "hardmax" ? [largest, first] : [largest, sum],
          body({ each, all }) {
            // Of NaN hardmax takes the first element of a row alone, before all others.
            const ranked = (at: string, k: string): string =>
              name === "hardmax"
                ? `select(${v(at)}, select(-infinity(), infinity(), ${k} == 0u), isNan(${v(at)}))`
                : v(at);
            const top = `  var own = -infinity();
${each("k", (at) => `own = max(own, ${ranked(at, "k")});`)}
  let top = ${all(largest, "own")};
`;
            if (name === "hardmax")
              return `${top}  var place = ${rows.n}u;
${each("j", (at) => `if (${ranked(at, "j")} == top) { place = min(place, j); }`)}
  let chosen = ${all(first, "place")};
${each("m", (at) => put(at, "select(0.0, 1.0, m == chosen)"))}`;
            const total = `${top}  var part = 0.0;
${each("j", (at) => `part += expNan(${v(at)} - top);`)}
  let total = ${all(sum, "part")};
`;
            if (name === "softmax") return `${total}${each("m", (at) => put(at, `expNan(${v(at)} - top) / total`))}`;
            return `${total}  let shift = top + logOf(total);\n${each("m", (at) => put(at, `${v(at)} - shift`))}`;
          },
        });
        return { run: [dispatch] };
      });
    }),
  );
