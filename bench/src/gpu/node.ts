/** In a process of its own: the webgpu device through Dawn. Tells its parent the adapter, ceilings and results. */
import { readFile } from "node:fs/promises";
import type * as Webgpu from "../../../src/backends/webgpu/index.ts";
import type * as Root from "../../../src/index.ts";
import type * as Tasks from "../../../src/tasks/index.ts";
import { installDawn } from "../../../test/gpu/dawn.ts";
import { forwardpassWebgpu } from "../engines/forwardpass-webgpu.ts";
import { distFolder, rootFolder } from "../paths.ts";
import { adapterOf } from "./adapter.ts";
import { measureCeilings } from "./ceilings.ts";
import { gpuEffort, type Request, spanOf, type Told } from "./protocol.ts";
import { workloads } from "./workloads.ts";

const tell = (message: Told): boolean => process.send!(message);
const request = JSON.parse(process.argv[2]) as Request;

const dist = <T>(file: string): Promise<T> => import(new URL(file, distFolder()).href) as Promise<T>;

// SwiftShader takes seconds for each shader as Dawn prefers them.
if (request.swiftshader) await installDawn();
const { openWebgpu } = await dist<typeof Webgpu>("webgpu.js");
const device = await openWebgpu().catch((e: Error) => {
  tell({ kind: "trouble", message: e.message });
  process.exit(1);
});
const adapter = adapterOf(device.device);
if (request.workload === "ceilings") {
  tell({ kind: "adapter", adapter });
  const wanted = !adapter.software || request.swiftshader;
  if (wanted) tell({ kind: "ceilings", ceilings: await measureCeilings(device.device, spanOf(request)) });
} else {
  const api = await dist<typeof Root>("index.js");
  const { textGeneration } = await dist<typeof Tasks>("tasks.js");
  const own = "forwardpass Node";
  await workloads
    .find((w) => w.name === request.workload)!
    .run({
      device,
      own,
      textGeneration,
      languageModels: request.languageModels,
      threads: [1],
      effort: gpuEffort(request),
      quick: request.quick === true,
      wants: (name) => name.includes(request.case),
      wantsEngine: () => true,
      openEngines: async () => [forwardpassWebgpu(own, api, device)],
      readFile: (path) => readFile(new URL(path, rootFolder)),
      report: (result) => tell({ kind: "result", result }),
    });
}
process.exit(0);
