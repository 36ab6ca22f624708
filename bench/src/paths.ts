/** Where things lie. The code runs bundled in bench/.cache, or from bench/src as it is. */
export const benchFolder = new URL("../", import.meta.url);
export const rootFolder = new URL("../", benchFolder);

/** The built engine, as users get it; another build by FORWARDPASS_DIST. */
export function distFolder(): URL {
  const other = process.env["FORWARDPASS_DIST"];
  return other ? new URL(`file://${other.replace(/\/?$/, "/")}`) : new URL("dist/", rootFolder);
}

/** What Node imports for an entry of the package. */
export const distEntry = (name: string): string => new URL(`node/${name}.js`, distFolder()).href;
