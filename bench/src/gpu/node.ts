/** In a process of its own: the webgpu device through Dawn. Tells its parent the adapter, ceilings and results. */
import { readFile } from "node:fs/promises";
import type * as Webgpu from "../../../src/backends/webgpu/index.ts";
import type * as Root from "../../../src/index.ts";
import type * as Tasks from "../../../src/tasks/index.ts";
import { installDawn } from "../../../test/gpu/dawn.ts";
import { forwardpassWebgpu } from "../engines/forwardpass-webgpu.ts";
import { distEntry, rootFolder } from "../paths.ts";
import { answer } from "./answer.ts";
import type { Request, Told } from "./protocol.ts";

const tell = (message: Told): boolean => process.send!(message);
const request = JSON.parse(process.argv[2]) as Request;

const dist = <T>(entry: string): Promise<T> => import(distEntry(entry)) as Promise<T>;

// SwiftShader takes seconds for each shader as Dawn prefers them.
if (request.swiftshader) await installDawn();
const { openWebgpu } = await dist<typeof Webgpu>("webgpu");
const device = await openWebgpu().catch((e: Error) => {
  tell({ kind: "trouble", message: e.message });
  process.exit(1);
});
const own = "forwardpass Node";
await answer(request, {
  device,
  own,
  tell,
  loadTextGeneration: async () => (await dist<typeof Tasks>("tasks")).textGeneration,
  openEngines: async () => [forwardpassWebgpu(own, await dist<typeof Root>("index"), device)],
  readFile: (path) => readFile(new URL(path, rootFolder)),
});
process.exit(0);
