/** Counts calls of a method while `work` runs. */
export async function counting(object: object, method: string, work: () => Promise<unknown>): Promise<number> {
  const target = object as Record<string, (...args: unknown[]) => unknown>;
  const own = target[method];
  let calls = 0;
  target[method] = function (this: unknown, ...args) {
    calls++;
    return own.apply(this, args);
  };
  try {
    await work();
  } finally {
    target[method] = own;
  }
  return calls;
}

/** The buffers that are made from now on and not destroyed. */
export function liveBuffers(device: GPUDevice): ReadonlySet<GPUBuffer> {
  const live = new Set<GPUBuffer>();
  const { createBuffer } = device;
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor);
    const { destroy } = buffer;
    live.add(buffer);
    buffer.destroy = () => {
      live.delete(buffer);
      return destroy.call(buffer);
    };
    return buffer;
  };
  return live;
}
