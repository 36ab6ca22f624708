/** The time of one call of a small model: mostly what surrounds the kernels. */
import { forwardpass, wasmName } from "../engines/forwardpass.ts";
import { mlpTask } from "./mlp.ts";
import { measureAll, type Workload } from "./workload.ts";

export const latency: Workload = {
  name: "latency",
  title: "Small model, time per call; runSync is run without a promise",
  async run(context) {
    const baseline = wasmName(context.threads[0]);
    const sync = [
      await forwardpass("forwardpass x1 runSync", { device: "wasm", threads: 1, sync: true, baseline }),
      await forwardpass("forwardpass cpu runSync", { device: "cpu", sync: true, baseline }),
    ];
    const task = mlpTask();
    await measureAll([{ name: task.name, make: () => task }], await context.openEngines(sync), context);
  },
};
