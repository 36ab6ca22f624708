/** This project's webgpu device, in Node and in browsers. */

import type { WebgpuBackend } from "../../../src/backends/webgpu/index.ts";
import type * as Root from "../../../src/index.ts";
import { type Feed, widened } from "../task.ts";
import type { Engine, Loaded } from "./engine.ts";

export type Forwardpass = Pick<typeof Root, "compile" | "graph" | "load" | "max">;

export function forwardpassWebgpu(name: string, api: Forwardpass, device: WebgpuBackend): Engine {
  return {
    name,
    async load({ onnx, inputs, resident }) {
      const session = await api.load(onnx, { device });
      return resident ? await loadResident(api, device, session, inputs) : load(session, inputs);
    },
  };
}

function load(session: Root.Session, inputs: Record<string, Feed>): Loaded {
  const output = session.outputs[0].name;
  return {
    run: () => session.run(inputs),
    values: (result) => floats((result as Root.Outputs)[output]),
    dispose: () => session.dispose(),
  };
}

async function loadResident(
  api: Forwardpass,
  device: WebgpuBackend,
  session: Root.Session,
  inputs: Record<string, Feed>,
): Promise<Loaded> {
  const kept = new Map<string, Root.DeviceTensor>();
  for (const [name, feed] of Object.entries(inputs)) kept.set(name, await onDevice(api, device, feed));
  const given = Object.fromEntries(kept);
  const output = session.outputs[0].name;
  let held: Root.DeviceTensor | undefined;
  return {
    async run() {
      held?.dispose();
      return (held = (await session.run(given, { keepOnDevice: true }))[output]);
    },
    finish: () => device.device.queue.onSubmittedWorkDone(),
    values: async (result) => floats(await (result as Root.DeviceTensor).toHost()),
    dispose() {
      held?.dispose();
      for (const t of kept.values()) t.dispose();
      session.dispose();
    },
  };
}

/** A tensor in the device's memory, as the result of an operator that changes nothing. */
async function onDevice(
  { compile, graph, max }: Forwardpass,
  device: WebgpuBackend,
  t: Feed,
): Promise<Root.DeviceTensor> {
  const same = graph(({ input }) => {
    const x = input("x", t.dtype as "f32", t.shape);
    return { y: max(x, x) };
  });
  using session = await compile(same, { device });
  return (await session.run({ x: t }, { keepOnDevice: true }))["y"];
}

const floats = ({ data }: Root.HostTensor): Float32Array =>
  data instanceof Uint16Array ? widened(data) : (data as Float32Array);
