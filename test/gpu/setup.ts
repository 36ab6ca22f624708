/** Before any test file: worker processes inherit what lets them find SwiftShader's adapter. */
import { adapterEnvironment } from "../../scripts/chromium.ts";

export async function setup(): Promise<void> {
  try {
    Object.assign(process.env, await adapterEnvironment());
  } catch (e) {
    // Tests without a GPU run all the same; those that need one fail, and say what they miss.
    console.warn(`SwiftShader could not be unpacked: ${(e as Error).message}`);
  }
}
