/** Single convolutions with bias and relu, as ResNet-50 and MobileNet have them; batch 1, NCHW. */
import { smallTask, type Task } from "../task.ts";
import { measureAll, type Workload } from "./workload.ts";

interface Layer {
  readonly from: number;
  readonly to: number;
  readonly size: number;
  readonly kernel: number;
  readonly stride?: number;
  readonly depthwise?: boolean;
}

const layers: Record<string, readonly Layer[]> = {
  resnet50: [
    { from: 3, to: 64, size: 224, kernel: 7, stride: 2 },
    { from: 64, to: 64, size: 56, kernel: 3 },
    { from: 64, to: 256, size: 56, kernel: 1 },
    { from: 256, to: 512, size: 56, kernel: 1, stride: 2 },
    { from: 128, to: 128, size: 56, kernel: 3, stride: 2 },
    { from: 128, to: 128, size: 28, kernel: 3 },
    { from: 512, to: 128, size: 28, kernel: 1 },
    { from: 256, to: 256, size: 14, kernel: 3 },
    { from: 1024, to: 256, size: 14, kernel: 1 },
    { from: 512, to: 512, size: 7, kernel: 3 },
    { from: 2048, to: 512, size: 7, kernel: 1 },
  ],
  mobilenet: [
    { from: 3, to: 32, size: 224, kernel: 3, stride: 2 },
    { from: 32, to: 32, size: 112, kernel: 3, depthwise: true },
    { from: 32, to: 64, size: 112, kernel: 1 },
    { from: 64, to: 64, size: 112, kernel: 3, stride: 2, depthwise: true },
    { from: 128, to: 128, size: 56, kernel: 3, depthwise: true },
    { from: 512, to: 512, size: 14, kernel: 3, depthwise: true },
    { from: 512, to: 512, size: 14, kernel: 1 },
    { from: 1024, to: 1024, size: 7, kernel: 1 },
  ],
};

function nameOf(model: string, { from, to, size, kernel, stride = 1, depthwise }: Layer): string {
  const channels = depthwise ? `${to} depthwise` : `${from}->${to}`;
  return `${model} ${kernel}x${kernel}${stride > 1 ? `/${stride}` : ""} ${channels} @${size}`;
}

function layerTask(name: string, { from, to, size, kernel, stride = 1, depthwise }: Layer): Task {
  const group = depthwise ? from : 1;
  const pad = kernel >> 1;
  const out = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  const fanIn = (from / group) * kernel * kernel;
  return smallTask(name, 2 * to * out * out * fanIn, { x: [1, from, size, size] }, (model) => {
    const weights = model.weights([to, from / group, kernel, kernel], fanIn);
    const y = model.node("Conv", ["x", weights, model.around([to], 0, 0.1)], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      group,
    });
    return { output: model.node("Relu", [y]), shape: [1, to, out, out] };
  });
}

export const conv: Workload = {
  name: "conv",
  title: "Convolutions f32 with bias and relu, batch 1, NCHW in and out",
  async run(context) {
    const tasks = Object.entries(layers).flatMap(([model, list]) =>
      list.map((layer) => {
        const name = nameOf(model, layer);
        return { name, make: () => layerTask(name, layer) };
      }),
    );
    await measureAll(tasks, await context.openEngines(), context);
  },
};
