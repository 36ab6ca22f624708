/** Files of npm packages: `npm:NAME[@VERSION][/path]`. */
import { FormatError, ForwardpassError, InputError } from "../../tensor/errors.ts";
import { type ByteSource, bytesSource, checkSibling, hasFileSystem, type SourceOptions, verified } from "../source.ts";
import { checkIntegrity } from "./checksum.ts";
import { download, offlineHelps } from "./download.ts";
import { fileSource, loadFs } from "./file.ts";
import { registryOf } from "./npm-registry.ts";
import { openStore, readJson, replaceFile, type Store, writeJson } from "./store.ts";
import { tarFiles } from "./tar.ts";
import { type FileTree, sourceIn } from "./tree.ts";
import { inTurn } from "./turns.ts";
import { urlSource } from "./url.ts";

interface Spec {
  readonly name: string;
  /** A version, or a tag such as `latest`. */
  readonly version: string | undefined;
  readonly path: string;
}

function parseSpec(spec: string): Spec {
  const [, name, version, path] =
    /^npm:(?:\/\/)?((?:@[\w.~-]+\/)?[\w.~-]+)(?:@([\w.+~-]+))?(?:\/(.*))?$/.exec(spec) ?? [];
  if (name === undefined)
    throw new InputError(`"${spec}": expected npm:NAME@VERSION/path, with a version (1.2.3) or a tag (latest)`);
  return { name, version, path: path ?? "" };
}

/**
 * A file of a package: from `node_modules` where that version is installed, from the cache, or from the registry.
 * @throws InputError for a package, version or file that is not there, or needs credentials; FormatError for an archive or file
 * with a wrong checksum, and for a broken `package.json` of an installed package
 */
export async function npmSource(spec: string, options: SourceOptions): Promise<ByteSource> {
  const { name, version, path } = parseSpec(spec);
  const folder = await installed(name, version);
  checkSibling(spec, path);
  if (folder) return verified(await fileSource(`${folder}/${path}`.replace(/\/$/, "")), options);
  const store = await openStore(options.cache, options.offline);
  const tree = await openPackage({ name, version, path }, store, options);
  return verified(await sourceIn(tree, path), options).catch(async (e) => {
    if (!tree.renew || !(e instanceof FormatError)) throw e;
    // Damaged since it was unpacked, maybe.
    await tree.renew();
    return verified(await sourceIn(tree, path), options);
  });
}

interface PackageTree extends FileTree {
  /** Unpacks all of it again. Missing where it is not kept. */
  renew?(): Promise<unknown>;
}

/** The folder of an installed package, of the version wanted, in or above the working directory. */
async function installed(name: string, version: string | undefined): Promise<string | undefined> {
  if (!hasFileSystem()) return undefined;
  const fs = await loadFs();
  for (let folder = globalThis.process.cwd(); ; folder = folder.replace(/[/\\][^/\\]*$/, "")) {
    const candidate = `${folder}/node_modules/${name}`;
    const manifest = await fs.readFile(`${candidate}/package.json`, "utf8").catch(() => undefined);
    if (manifest && (version === undefined || versionIn(manifest, `${candidate}/package.json`) === version))
      return candidate;
    if (!/[/\\]/.test(folder)) return undefined;
  }
}

/** @throws FormatError for what is no manifest */
function versionIn(manifest: string, path: string): unknown {
  try {
    return (JSON.parse(manifest) as { version?: unknown }).version;
  } catch (cause) {
    throw new FormatError(`${path}: not a package's manifest: ${(cause as Error).message}; install the package again`, {
      cause,
    });
  }
}

/** What the store keeps of a package: its files and their sizes. */
interface Kept {
  readonly files: Readonly<Record<string, number>>;
}

async function openPackage(spec: Spec, store: Store | undefined, options: SourceOptions): Promise<PackageTree> {
  const wanted = spec.version ?? "latest";
  const tagName = `npm/${spec.name}@${wanted}.json`;
  const tagged = async () => (await readJson<{ version: string }>(store, tagName))?.version;
  // Versions never change; what a tag stands for does, and is kept for offline use.
  let version = spec.version;
  let kept = await keptPackage(spec.name, version, store);
  if (!kept && options.offline) {
    version = await tagged();
    kept = await keptPackage(spec.name, version, store);
    if (!kept) throw new InputError(`npm:${spec.name}@${wanted} is not in the cache, and offline nothing is fetched`);
  }
  if (!kept) {
    const release = await resolve(spec, options).catch(async (e) => {
      throw (await keptPackage(spec.name, await tagged(), store)) ? offlineHelps(e) : e;
    });
    version = release.version;
    if (!store) return memoryTree(`npm:${spec.name}@${version}`, await fetchPackage(release, store, options));
    kept = (await keptPackage(spec.name, version, store)) ?? (await unpackInto(store, release, options));
    if (version !== spec.version) await writeJson(store, tagName, { version });
  }
  return storedTree({ ...spec, version }, kept, store!, options);
}

const indexOf = (name: string, version: string): string => `npm/${name}@${version}/index.json`;
const nameIn = (name: string, version: string, path: string): string => `npm/${name}@${version}/files/${path}`;

async function keptPackage(
  name: string,
  version: string | undefined,
  store: Store | undefined,
): Promise<Kept | undefined> {
  const kept = version === undefined ? undefined : await readJson<Kept>(store, indexOf(name, version));
  // Without sizes nothing could be told of the files.
  return kept?.files && !Array.isArray(kept.files) ? kept : undefined;
}

/** One at a time unpacks a package; others wait, and find it. */
async function unpackInto(store: Store, release: Release, options: SourceOptions, again = false): Promise<Kept> {
  const { name, version } = release;
  return inTurn(`${store.name}/npm/${name}@${version}`, options.signal, async () => {
    const found = again ? undefined : await keptPackage(name, version, store);
    if (found) return found;
    const files = await fetchPackage(release, store, options);
    const kept: Kept = { files: Object.fromEntries(Array.from(files, ([path, { size }]) => [path, size])) };
    await writeJson(store, indexOf(name, version), kept);
    return kept;
  });
}

/** Files that were deleted, or cut short, are unpacked again when they are asked for. */
function storedTree(spec: Spec, { files }: Kept, store: Store, options: SourceOptions): PackageTree {
  const { name, version = "" } = spec;
  const called = `npm:${name}@${version}`;
  const whole = async (path: string): Promise<ByteSource | undefined> => {
    const source = await store.open(nameIn(name, version, path));
    return source?.size === files[path] ? source : undefined;
  };
  const renew = async (): Promise<Kept> => {
    // Offline the archive has to do that came with it.
    const kept = { name, version, tarball: "", integrity: undefined };
    return unpackInto(store, options.offline ? kept : await resolve(spec, options), options, true);
  };
  return {
    name: called,
    renew,
    files: async () => Object.keys(files),
    async open(path) {
      if (!Object.hasOwn(files, path)) return missing(called, path);
      const found = await whole(path);
      if (found) return found;
      await renew();
      return (await whole(path)) ?? missing(called, path);
    },
  };
}

function memoryTree(name: string, files: ReadonlyMap<string, Unpacked>): FileTree {
  return {
    name,
    files: async () => [...files.keys()],
    open: async (path) => bytesSource(files.get(path)?.bytes ?? missing(name, path)),
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

/**
 * What the registry says about a version.
 * @throws InputError when it can't be asked, or knows no such version
 */
async function resolve({ name, version: wanted = "latest" }: Spec, options: SourceOptions): Promise<Release> {
  const { url: registry, rewrite } = await registryOf(name, options.registry);
  const url = `${registry}${name.replace("/", "%2f")}`;
  const headers = { ...options.headers, accept: "application/vnd.npm.install-v1+json" };
  const source = await urlSource(url, { ...options, headers, name: url, onProgress: undefined, whole: true, hint });
  let packument: Packument | null;
  try {
    packument = JSON.parse(new TextDecoder().decode(await source.read(0, source.size))) as Packument | null;
  } catch (cause) {
    throw new InputError(`${url}: the registry's answer is not JSON`, { cause });
  }
  const version = packument?.["dist-tags"]?.[wanted] ?? wanted;
  const dist = packument?.versions?.[version]?.dist;
  if (typeof dist?.tarball !== "string") {
    const known = Object.keys(packument?.versions ?? {});
    throw new InputError(
      `npm:${name}: there is no version or tag "${wanted}"; latest versions: ${known.slice(-5).join(", ")}`,
    );
  }
  const sha1 =
    dist.shasum &&
    `sha1-${btoa(String.fromCharCode(...(dist.shasum.match(/../g) ?? []).map((h) => Number.parseInt(h, 16))))}`;
  return { name, version, tarball: rewrite(dist.tarball), integrity: dist.integrity ?? sha1 };
}

/** Of a registry's refusals. */
const hint = (status: number): string =>
  status === 401 || status === 403
    ? '; does the registry want credentials? pass { headers: { authorization: "Bearer TOKEN" } }'
    : "";

interface Unpacked {
  readonly size: number;
  /** Where there is no store. */
  readonly bytes?: Uint8Array;
}

/** Downloads and unpacks. Returns the files. */
async function fetchPackage(
  { name, version, tarball, integrity }: Release,
  store: Store | undefined,
  options: SourceOptions,
): Promise<Map<string, Unpacked>> {
  const key = `npm:${name}@${version}.tgz`;
  if (typeof DecompressionStream === "undefined")
    throw new InputError(
      `${key}: this host unpacks no archives, it has no DecompressionStream; load the file by a URL`,
    );
  // The checksum that the caller gave is that of a file in it.
  const own = { ...options, sha256: undefined, name: key, hint };
  const archive = store
    ? await download({ key, url: tarball, version, integrity }, store, own)
    : await urlSource(tarball, { ...own, whole: true });
  if (integrity && !store) await checkIntegrity(archive, integrity, options.signal);
  const files = new Map<string, Unpacked>();
  try {
    for await (const file of tarFiles(unzipped(archive, options.signal), key)) {
      options.signal?.throwIfAborted();
      // All of a package lies in one folder, mostly called `package`.
      const path = file.path.replace(/^[^/]*\//, "");
      if (path.split(/[/\\]/).includes("..")) throw new FormatError(`${key}: a file named "${file.path}"`);
      files.set(path, await save(file, nameIn(name, version, path), store));
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
): Promise<Unpacked> {
  if (!store) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const piece of content) parts.push(piece.slice());
    return { size, bytes: new Uint8Array(await new Blob(parts, {}).arrayBuffer(), 0, size) };
  }
  await replaceFile(store, name, async (writer) => {
    for await (const piece of content) await writer.write(piece);
  });
  return { size };
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
