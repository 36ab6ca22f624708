/**
 * Dawn as tests start it, found as `navigator.gpu`. Workgroup memory is zeroed by loops: as one constant, which Dawn
 * prefers, SwiftShader compiles it element by element, and takes a second for each shader with tiles.
 */
const flags = ["disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"];

/** Once in a process; where there is a `navigator.gpu` that one stays. */
export async function installDawn(): Promise<void> {
  const navigator = (globalThis.navigator ?? {}) as { gpu?: GPU };
  if (navigator.gpu) return;
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  Object.defineProperty(navigator, "gpu", { value: create(flags), configurable: true });
  // Node before 21 has none.
  if (!globalThis.navigator) Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
}
