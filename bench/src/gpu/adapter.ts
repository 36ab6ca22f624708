/** What a GPU adapter says of itself. */
export interface Adapter {
  readonly name: string;
  /** It computes on the CPU. */
  readonly software: boolean;
  readonly features: readonly string[];
}

const shown = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"];

export function adapterOf({ adapterInfo, features }: GPUDevice): Adapter {
  const { vendor, architecture, device, description, isFallbackAdapter } = adapterInfo;
  const name = [description || device, vendor, architecture].filter(Boolean).join(", ");
  return {
    name: name || "unnamed",
    software: isFallbackAdapter || /swiftshader|llvmpipe|lavapipe/i.test(name),
    features: shown.filter((f) => features.has(f as GPUFeatureName)),
  };
}
