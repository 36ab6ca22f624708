/** Which registry packages come from: the one that npm itself is configured with. */
import { environment, hasFileSystem } from "../source.ts";
import { loadFs } from "./file.ts";

/** npm's default. */
const publicRegistry = "https://registry.npmjs.org/";

export interface Registry {
  /** Ends with a slash. */
  readonly url: string;
  /** An archive's address as that registry has it: mirrors may pass on the public one's. */
  rewrite(tarball: string): string;
}

/**
 * @param given the caller's choice. Otherwise npm's: the environment variable `npm_config_registry`, then `.npmrc` in the
 * working directory and in the home directory, where scopes may have their own; then the public registry.
 */
export async function registryOf(name: string, given?: string): Promise<Registry> {
  const url = (given ?? (await configured(name)) ?? publicRegistry).replace(/\/*$/, "/");
  return {
    url,
    rewrite: (tarball) => (tarball.startsWith(publicRegistry) ? url + tarball.slice(publicRegistry.length) : tarball),
  };
}

async function configured(name: string): Promise<string | undefined> {
  if (!hasFileSystem()) return undefined;
  const fs = await loadFs();
  const folders = [globalThis.process.cwd(), environment("HOME") ?? environment("USERPROFILE")].filter(
    (f) => f !== undefined,
  );
  const files = await Promise.all(folders.map((f) => fs.readFile(`${f}/.npmrc`, "utf8").catch(() => "")));
  const setting = (key: string): string | undefined =>
    files
      .flatMap((text) => text.split(/\r?\n/))
      .find((line) => line.split("=")[0].trim() === key)
      ?.split("=")[1]
      ?.trim();
  const scope = /^@[^/]+/.exec(name)?.[0];
  const ofScope = scope && setting(`${scope}:registry`);
  const ofAll = environment("npm_config_registry") || environment("NPM_CONFIG_REGISTRY") || setting("registry");
  return ofScope || ofAll || undefined;
}
