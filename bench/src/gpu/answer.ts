/** What a process or a page does when it is asked to measure. */
import { adapterOf } from "./adapter.ts";
import { measureCeilings } from "./ceilings.ts";
import { gpuEffort, type Request, spanOf, type Told } from "./protocol.ts";
import { type GpuContext, workloads } from "./workloads.ts";

interface Site extends Pick<GpuContext, "device" | "own" | "openEngines" | "readFile"> {
  loadTextGeneration(): Promise<GpuContext["textGeneration"]>;
  tell(message: Told): void;
}

export async function answer(request: Request, { loadTextGeneration, tell, ...site }: Site): Promise<void> {
  const { device } = site.device;
  if (request.workload === "ceilings") {
    const adapter = adapterOf(device);
    tell({ kind: "adapter", adapter });
    const wanted = !adapter.software || request.swiftshader;
    if (wanted) tell({ kind: "ceilings", ceilings: await measureCeilings(device, spanOf(request)) });
    return;
  }
  await workloads
    .find((w) => w.name === request.workload)!
    .run({
      ...site,
      textGeneration: await loadTextGeneration(),
      languageModels: request.languageModels,
      threads: [1],
      effort: gpuEffort(request),
      quick: request.quick === true,
      wants: (name) => name.includes(request.case),
      wantsEngine: () => true,
      report: (result) => tell({ kind: "result", result }),
    });
}
