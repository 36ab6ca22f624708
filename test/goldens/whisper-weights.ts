/**
 * The weights of an exported Whisper (ONNX, dynamic int8) under the names of Hugging Face's checkpoints, as f32: what tests
 * of the engine's own Whisper run on.
 */
import { importOnnxSource } from "../../src/formats/onnx/index.ts";
import { openSource } from "../../src/formats/source.ts";
import type { Graph, Node } from "../../src/graph/ir.ts";
import { toF64 } from "../../src/tensor/convert.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";

const read = async (path: string): Promise<Graph> => (await importOnnxSource(await openSource(path))).graph;

export async function whisperWeightsOf(encoderPath: string, decoderPath: string): Promise<Map<string, HostTensor>> {
  const encoder = await read(encoderPath);
  const decoder = await read(decoderPath);
  // The branch without caches has all of the weights.
  const [branching] = decoder.nodes.filter((n) => n.op.name === "if");
  const branch = (branching.attrs as unknown as { elseBranch: Graph }).elseBranch;
  return new Map([...weightsOf(encoder, "encoder."), ...weightsOf(branch, "decoder.")]);
}

function weightsOf(graph: Graph, prefix: string): Map<string, HostTensor> {
  const nodes = new Map(graph.nodes.map((n) => [n.name, n]));
  const constantsOf = (n: Node | undefined): HostTensor[] =>
    (n?.inputs ?? []).flatMap((id) => (id === undefined ? [] : (graph.constants.get(id) ?? [])));
  const out = new Map<string, HostTensor>();
  const put = (name: string, kind: string, t: HostTensor): void => {
    out.set(`model.${prefix}${name.replace(/^\/(model\/decoder\/)?/, "").replaceAll("/", ".")}.${kind}`, t);
  };
  for (const n of graph.nodes) {
    const constants = constantsOf(n);
    const [, name, part] = /^(.*)\/(\w+)$/.exec(n.name) ?? [];
    if (part === "MatMul_quant" || part === "Conv_quant") {
      const [w, zero] = constants;
      const [scale] = constantsOf(nodes.get(`${n.name}_scales_mul`));
      if (!w || w.shape.length < 2 || name.endsWith("proj_out")) continue;
      const values = dequantized(w, scale, zero);
      put(name, "weight", part === "MatMul_quant" ? transposed(values) : values);
      const sum = nodes.get(part === "MatMul_quant" ? `${name}/Add` : `${name}/Conv_output_0_bias_reshape_output`);
      const bias = constantsOf(sum).find((t) => t.dtype === "f32");
      if (bias) put(name, "bias", bias);
    } else if (name?.endsWith("layer_norm") && (part === "Mul" || part === "Add_1"))
      put(name, part === "Mul" ? "weight" : "bias", constants[0]);
    else if (n.name === "/Add_2" || n.name.endsWith("embed_positions/Slice"))
      put("embed_positions", "weight", constants[0]);
    else if (n.name.endsWith("embed_tokens/Gather")) {
      const [scale, zero] = constantsOf(nodes.get(`${n.name}_output_0_DequantizeLinear`));
      put("embed_tokens", "weight", dequantized(constants[0], scale, zero));
    }
  }
  return out;
}

function dequantized(w: HostTensor, scale: HostTensor, zero: HostTensor): HostTensor {
  const [s, z] = [toF64(scale)[0], toF64(zero)[0]];
  return { dtype: "f32", shape: w.shape, data: Float32Array.from(toF64(w), (v) => (v - z) * s) };
}

function transposed({ shape: [rows, columns], data }: HostTensor): HostTensor {
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j] as number;
  return { dtype: "f32", shape: [columns, rows], data: out };
}
