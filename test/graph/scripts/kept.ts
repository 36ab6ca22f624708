/** Leaves outputs on a GPU over and over, and to garbage collection: prints how many buffers that took. CYCLES. */
import { compile, graph, openDevice, relu } from "../../../src/index.ts";
import { installDawn } from "../../gpu/dawn.ts";
import { collect } from "./gc.ts";

await installDawn();
const device = (await openDevice("webgpu")) as Awaited<ReturnType<typeof openDevice>> & { device: GPUDevice };
const session = await compile(
  graph(({ input }) => ({ y: relu(input("x", "f32", [64])) })),
  { device },
);
const x = new Float32Array(64).fill(1);
let buffers = 0;
const own = device.device.createBuffer;
device.device.createBuffer = function (this: GPUDevice, descriptor) {
  buffers++;
  return own.call(this, descriptor);
};
const cycles = Number(process.argv[2]);
for (let i = 0; i < cycles; i++) {
  await session.run({ x }, { keepOnDevice: true });
  if (i % 4 === 3) await collect();
}
console.log(JSON.stringify({ buffers }));
process.exit(0);
