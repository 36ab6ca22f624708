/** Files of npm packages: `npm:NAME[@VERSION][/path]`. */
import { FormatError, ForwardpassError, InputError } from "../../tensor/errors.ts";
import { type ByteSource, bytesSource, checkSibling, hasFileSystem, type SourceOptions } from "../source.ts";
import { checkIntegrity } from "./checksum.ts";
import { download } from "./download.ts";
import { fileSource, loadFs } from "./file.ts";
import { registryOf } from "./npm-registry.ts";
import { openStore, readJson, type Store, writeJson } from "./store.ts";
import { tarFiles } from "./tar.ts";
import { type FileTree, sourceIn } from "./tree.ts";
import { urlSource } from "./url.ts";

interface Spec {
  readonly name: string;
  /** A version, or a tag such as `latest`. */
  readonly version: string | undefined;
  readonly path: string;
}

function parseSpec(spec: string): Spec {
  const [, name, version, path] =
    /^npm:\/{0,2}((?:@[\w.~-]+\/)?[\w.~-]+)(?:@([\w.+~-]+))?(?:\/(.*))?$/.exec(spec) ?? [];
  if (name === undefined)
    throw new InputError(`"${spec}": expected npm:NAME@VERSION/path, with a version (1.2.3) or a tag (latest)`);
  return { name, version, path: path ?? "" };
}

/**
 * A file of a package: from `node_modules` where that version is installed, from the cache, or from the registry.
 * @throws InputError for a package, version or file that is not there; FormatError for an archive with a wrong checksum
 */
export async function npmSource(spec: string, options: SourceOptions): Promise<ByteSource> {
  const { name, version, path } = parseSpec(spec);
  const folder = await installed(name, version);
  checkSibling(spec, path);
  if (folder) return fileSource(`${folder}/${path}`.replace(/\/$/, ""));
  const store = await openStore(options.cache);
  return sourceIn(await openPackage({ name, version, path }, store, options), path);
}

/** The folder of an installed package, of the version wanted, in or above the working directory. */
async function installed(name: string, version: string | undefined): Promise<string | undefined> {
  if (!hasFileSystem()) return undefined;
  const fs = await loadFs();
  for (let folder = globalThis.process.cwd(); ; folder = folder.replace(/[/\\][^/\\]*$/, "")) {
    const candidate = `${folder}/node_modules/${name}`;
    const manifest = await fs.readFile(`${candidate}/package.json`, "utf8").catch(() => undefined);
    if (manifest && (version === undefined || (JSON.parse(manifest) as { version: string }).version === version))
      return candidate;
    if (!/[/\\]/.test(folder)) return undefined;
  }
}

/** What the store keeps of a package: the names of its files. */
interface Kept {
  readonly files: readonly string[];
}

async function openPackage(spec: Spec, store: Store | undefined, options: SourceOptions): Promise<FileTree> {
  const tagName = `npm/${spec.name}@${spec.version ?? "latest"}`;
  const folderOf = (version: string): string => `npm/${spec.name}@${version}/files`;
  const kept = (version: string) => readJson<Kept>(store, `npm/${spec.name}@${version}/index.json`);
  // Versions never change; what a tag stands for does, and is kept for offline use.
  let version = spec.version;
  let index = version === undefined ? undefined : await kept(version);
  if (!index && options.offline) {
    version = (await readJson<{ version: string }>(store, `${tagName}.json`))?.version;
    index = version === undefined ? undefined : await kept(version);
    if (!index)
      throw new InputError(
        `npm:${spec.name}@${spec.version ?? "latest"} is not in the cache, and offline nothing is fetched`,
      );
  }
  if (!index) {
    const release = await resolve(spec, options);
    version = release.version;
    index = await kept(version);
    if (!index || !store) {
      const memory = await fetchPackage(release, folderOf(version), store, options);
      if (!store) return memoryTree(`npm:${spec.name}@${version}`, memory);
      index = { files: [...memory.keys()] };
      await writeJson(store, `npm/${spec.name}@${version}/index.json`, index);
    }
    if (version !== spec.version) await writeJson(store, `${tagName}.json`, { version });
  }
  const name = `npm:${spec.name}@${version}`;
  const { files } = index;
  return {
    name,
    files: async () => files,
    async open(path) {
      const source = files.includes(path) ? await store!.open(`${folderOf(version!)}/${path}`) : undefined;
      return source ?? missing(name, path);
    },
  };
}

function memoryTree(name: string, files: ReadonlyMap<string, Uint8Array>): FileTree {
  return {
    name,
    files: async () => [...files.keys()],
    open: async (path) => bytesSource(files.get(path) ?? missing(name, path)),
  };
}

function missing(name: string, path: string): never {
  throw new InputError(`${name}: there is no file "${path}" in this package`, { notFound: true });
}

interface Release {
  readonly name: string;
  readonly version: string;
  readonly tarball: string;
  readonly integrity: string | undefined;
}

interface Packument {
  readonly "dist-tags"?: Readonly<Record<string, string>>;
  readonly versions?: Readonly<Record<string, { dist: { tarball: string; integrity?: string; shasum?: string } }>>;
}

/** What the registry says about a version. */
async function resolve({ name, version: wanted = "latest" }: Spec, options: SourceOptions): Promise<Release> {
  const { url: registry, rewrite } = await registryOf(name, options.registry);
  const url = `${registry}${name.replace("/", "%2f")}`;
  const headers = { ...options.headers, accept: "application/vnd.npm.install-v1+json" };
  const source = await urlSource(url, { ...options, headers, onProgress: undefined, whole: true });
  let packument: Packument;
  try {
    packument = JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as Packument;
  } catch (cause) {
    throw new InputError(`${url}: the registry's answer is not JSON`, { cause });
  }
  const version = packument["dist-tags"]?.[wanted] ?? wanted;
  const dist = packument.versions?.[version]?.dist;
  if (!dist) {
    const known = Object.keys(packument.versions ?? {});
    throw new InputError(
      `npm:${name}: there is no version or tag "${wanted}"; latest versions: ${known.slice(-5).join(", ")}`,
    );
  }
  const sha1 =
    dist.shasum &&
    `sha1-${btoa(String.fromCharCode(...(dist.shasum.match(/../g) ?? []).map((h) => Number.parseInt(h, 16))))}`;
  return { name, version, tarball: rewrite(dist.tarball), integrity: dist.integrity ?? sha1 };
}

/** Downloads and unpacks. Returns the files: their contents too where there is no store. */
async function fetchPackage(
  { name, version, tarball, integrity }: Release,
  folder: string,
  store: Store | undefined,
  options: SourceOptions,
): Promise<Map<string, Uint8Array>> {
  const key = `npm:${name}@${version}.tgz`;
  // The checksum that the caller gave is that of a file in it.
  const own = { ...options, sha256: undefined, name: key };
  const archive = store
    ? await download({ key, url: tarball, version }, store, own)
    : await urlSource(tarball, { ...own, whole: true });
  if (integrity) await checkIntegrity(archive, integrity, options.signal);
  const files = new Map<string, Uint8Array>();
  try {
    for await (const file of tarFiles(unzipped(archive, options.signal), key)) {
      options.signal?.throwIfAborted();
      // All of a package lies in one folder, mostly called `package`.
      const path = file.path.replace(/^[^/]*\//, "");
      if (path.split(/[/\\]/).includes("..")) throw new FormatError(`${key}: a file named "${file.path}"`);
      files.set(path, await save(file, `${folder}/${path}`, store));
    }
  } catch (cause) {
    options.signal?.throwIfAborted();
    if (cause instanceof ForwardpassError) throw cause;
    throw new FormatError(`${key}: not a gzip archive: ${(cause as Error).message}`, { cause });
  }
  return files;
}

async function save(
  { size, content }: { size: number; content: AsyncIterable<Uint8Array> },
  name: string,
  store: Store | undefined,
): Promise<Uint8Array> {
  if (!store) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const piece of content) parts.push(piece.slice());
    return new Uint8Array(await new Blob(parts, {}).arrayBuffer(), 0, size);
  }
  const writer = await store.write(name, 0);
  try {
    for await (const piece of content) await writer.write(piece);
  } finally {
    await writer.close();
  }
  return new Uint8Array(0);
}

const stepBytes = 1 << 20;

function unzipped(archive: ByteSource, signal: AbortSignal | undefined): ReadableStream<Uint8Array> {
  let at = 0;
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const length = Math.min(stepBytes, archive.size - at);
      if (length === 0) return controller.close();
      controller.enqueue((await archive.read(at, length, signal)) as Uint8Array<ArrayBuffer>);
      at += length;
    },
  });
  return packed.pipeThrough(new DecompressionStream("gzip"));
}
