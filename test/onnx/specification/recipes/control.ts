/** Recipes of ONNX control flow, sequences and optionals. */
import { type GraphSpec, node as n } from "../../encode.ts";
import { always, node, of, onnxCode, type Recipes, scalar, values, x } from "../recipe.ts";

const returning: GraphSpec = { nodes: [n("Identity", ["outer"], ["result"])], outputs: [{ name: "result" }] };

const body: GraphSpec = {
  nodes: [n("Identity", ["cond"], ["again"]), n("Identity", ["state"], ["next"]), n("Identity", ["state"], ["row"])],
  inputs: [{ name: "i", dtype: "i64", shape: [] }, { name: "cond", dtype: "bool", shape: [] }, { name: "state" }],
  outputs: [{ name: "again" }, { name: "next" }, { name: "row" }],
};

const scanning: GraphSpec = {
  nodes: [n("Identity", ["row"], ["next"]), n("Identity", ["state"], ["out"])],
  inputs: [{ name: "state" }, { name: "row" }],
  outputs: [{ name: "next" }, { name: "out" }],
};

const mapping: GraphSpec = {
  nodes: [n("Identity", ["element"], ["result"])],
  inputs: [{ name: "element" }, { name: "more" }],
  outputs: [{ name: "result" }],
};

export const controlRecipes: Readonly<Record<string, Recipes>> = {
  ConcatFromSequence: always(
    node([{ ...x, sequence: 2 }], { axis: 0 }),
    node([{ ...x, sequence: 2 }], { axis: 0, new_axis: 1 }),
  ),
  If: always(node([scalar(1)], { then_branch: returning, else_branch: returning })),
  Loop: always(node([scalar(2), scalar(1), x], { body }, 2), node([scalar(2), undefined, x], { body }, 2)),
  Optional: always(node([x])),
  OptionalGetElement: always(node([x])),
  OptionalHasElement: ({ since }) => [node([x]), ...(since >= 18 ? [node([])] : [])],
  Scan: ({ since }) =>
    since < 9
      ? [
          node([undefined, of(1, 2), of(1, 3, 2)], { body: scanning, num_scan_inputs: 1 }, 2),
          node([values(2), of(1, 2), of(1, 3, 2)], { body: scanning, num_scan_inputs: 1, directions: [1] }, 2),
        ]
      : [
          node([of(2), of(3, 2)], { body: scanning, num_scan_inputs: 1 }, 2),
          node(
            [of(2), of(2, 3)],
            {
              body: scanning,
              num_scan_inputs: 1,
              scan_input_axes: [1],
              scan_output_axes: [1],
              scan_input_directions: [1],
              scan_output_directions: [1],
            },
            2,
          ),
        ],
  SequenceAt: always(node([{ ...x, sequence: 2 }, scalar(-1)])),
  SequenceConstruct: always(node([x, of(2)])),
  SequenceEmpty: ({ dtypes }) => [
    node([], { dtype: onnxCode[dtypes["S"]] }),
    ...(dtypes["S"] === "f32" ? [node([])] : []),
  ],
  SequenceErase: always(node([{ ...x, sequence: 2 }]), node([{ ...x, sequence: 2 }, scalar(0)])),
  SequenceInsert: always(node([{ ...x, sequence: 2 }, x]), node([{ ...x, sequence: 2 }, x, scalar(-1)])),
  SequenceLength: always(node([{ ...x, sequence: 2 }])),
  SequenceMap: always(node([{ ...x, sequence: 2 }, of(1)], { body: mapping })),
  SplitToSequence: always(
    node([x]),
    node([x], { keepdims: 0 }),
    node([x, values(1, 2)], { axis: 1 }),
    node([x, scalar(2)], { axis: 1 }),
  ),
};
