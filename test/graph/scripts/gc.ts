/** Collects garbage until nothing more goes: finalisers and freed array buffers take a turn each. Needs --expose-gc. */
export async function collect(): Promise<void> {
  for (let i = 0; i < 5; i++) {
    globalThis.gc!();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Bytes outside of the JavaScript heap: array buffers and WebAssembly memories. */
export const outsideBytes = (): number => process.memoryUsage().external;
