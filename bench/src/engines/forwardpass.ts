/** This project, from its build. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Backend, HostTensor, load, openDevice } from "../../../src/index.ts";
import { distEntry } from "../paths.ts";
import { smallTask } from "../task.ts";
import type { Engine } from "./engine.ts";

interface Forwardpass {
  load: typeof load;
  openDevice: typeof openDevice;
}

const importForwardpass = async (): Promise<Forwardpass> => (await import(distEntry("index"))) as Forwardpass;

interface Options {
  device: "cpu" | "wasm";
  threads?: number;
  sync?: boolean;
  baseline?: string;
}

export const wasmName = (threads: number): string => `forwardpass x${threads}`;

/**
 * Its workers start in the background with the first plan that has work for them, and end with the last session: a
 * session that stays keeps them, so that all tasks find them started.
 */
async function keepWorkers(load: Forwardpass["load"], device: Backend): Promise<void> {
  const size = 256;
  const shapes = { a: [size, size], b: [size, size] };
  const task = smallTask("square", 0, shapes, (m) => ({ output: m.node("MatMul", ["a", "b"]), shape: shapes.a }));
  const session = await load(task.onnx, { device });
  await session.run(task.inputs as Record<string, HostTensor>);
  await sleep(300);
}

export async function forwardpass(name: string, { device, threads, sync, baseline }: Options): Promise<Engine> {
  const { load, openDevice } = await importForwardpass();
  const backend = await openDevice(device, { threads });
  if (threads && threads > 1) await keepWorkers(load, backend);
  return {
    name,
    baseline,
    async load({ onnx, inputs }) {
      const session = await load(onnx, { device: backend });
      const feeds = inputs as Record<string, HostTensor>;
      const output = session.outputs[0].name;
      return {
        run: sync ? () => session.runSync(feeds) : () => session.run(feeds),
        values: (result) => (result as Record<string, HostTensor>)[output].data as Float32Array,
        dispose: () => session.dispose(),
      };
    },
  };
}
