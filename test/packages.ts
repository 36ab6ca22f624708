/** Packages with weights for tests: where the registry can't be reached, the tests say so and are skipped. */
import { packageFolder } from "../scripts/packages.ts";

export async function weightsOf(name: string, version: string): Promise<string | undefined> {
  try {
    return await packageFolder(name, version);
  } catch (e) {
    console.warn(`skipped: ${name}@${version} is not cached and npm could not fetch it: ${(e as Error).message}`);
    return undefined;
  }
}
