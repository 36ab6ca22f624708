/** The package as it is published: `dist` and the manifest, where Node and bundlers find it by its name. */
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { root, writeDist } from "../scripts/bundle.ts";

/** Builds the package into `node_modules` of the folder. Returns its place. */
export async function publishTo(folder: string): Promise<string> {
  const place = join(folder, "node_modules/forwardpass");
  await mkdir(place, { recursive: true });
  await copyFile(join(root, "package.json"), join(place, "package.json"));
  await writeDist(join(place, "dist"));
  return place;
}
