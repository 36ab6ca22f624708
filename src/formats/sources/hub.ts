/** Files of Hugging Face repositories: `hf:org/name[@revision][/path]`, through the optional peer `@huggingface/hub`. */
import { FormatError, InputError } from "../../tensor/errors.ts";
import { loadPeer } from "../../tensor/peer.ts";
import { type ByteSource, environment, escapedPath, type SourceOptions } from "../source.ts";
import { checkSha256 } from "./checksum.ts";
import { download, isKept, offlineHelps } from "./download.ts";
import { Connection } from "./http.ts";
import { openStore, readJson, type Store, writeJson } from "./store.ts";
import { sourceIn } from "./tree.ts";
import { urlSource } from "./url.ts";

interface Params {
  repo: string;
  revision: string;
  accessToken?: string;
  hubUrl?: string;
  fetch?: typeof fetch;
}
/** It puts paths into addresses as they are, and with `listFiles` the revision, too. */
interface Hub {
  fileDownloadInfo(params: Params & { path: string }): Promise<{ size: number; etag: string; url: string } | null>;
  listFiles(params: Params & { recursive: boolean }): AsyncIterable<{ type: string; path: string }>;
}

/**
 * @throws MissingPeerError without the peer; InputError for a repository or file that is not there, or needs a token;
 * FormatError for a wrong checksum
 */
export async function hubSource(spec: string, options: SourceOptions): Promise<ByteSource> {
  const [, repo, escaped = "main", path = ""] =
    /^hf:(?:\/\/)?([\w.-]+\/[\w.-]+)(?:@([^/\p{Surrogate}]+))?(?:\/(.*))?$/u.exec(spec) ?? [];
  const revision = unescaped(escaped);
  if (repo === undefined || revision === undefined)
    throw new InputError(`"${spec}": expected hf:org/name, hf:org/name@revision or hf:org/name/path`);
  const repository = new Repository(repo, revision, await openStore(options.cache, options.offline), options);
  return sourceIn(repository, path);
}

/** Undefined for what is no escaped text. */
function unescaped(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

class Repository {
  readonly name: string;
  private readonly token: string | undefined;
  /** The file that was asked for, which the caller's checksum is of: the first one opened. Those beside it come later. */
  private asked: string | undefined;

  constructor(
    private readonly repo: string,
    private readonly revision: string,
    private readonly store: Store | undefined,
    private readonly options: SourceOptions,
  ) {
    this.name = `hf:${repo}${revision === "main" ? "" : `@${revision}`}`;
    this.token = options.token ?? environment("HF_TOKEN");
  }

  async files(): Promise<readonly string[]> {
    const { options, store } = this;
    const listName = `hf/${this.repo}@${encodeURIComponent(this.revision)}.json`;
    if (options.offline) {
      const kept = await readJson<string[]>(store, listName);
      if (kept) return kept;
      throw new InputError(`${this.name} is not in the cache, and offline nothing is fetched: load it once online`);
    }
    const files: string[] = [];
    await this.ask(
      async (hub, params) => {
        const revision = encodeURIComponent(params.revision);
        for await (const entry of hub.listFiles({ ...params, revision, recursive: true }))
          if (entry.type === "file") files.push(entry.path);
      },
      async () => Array.isArray(await readJson(store, listName)),
    );
    await writeJson(store, listName, files);
    return files;
  }

  async open(path: string): Promise<ByteSource> {
    const { store, token } = this;
    const key = `${this.name}/${path}`;
    this.asked ??= path;
    const options = { ...this.options, sha256: path === this.asked ? this.options.sha256 : undefined };
    if (options.offline) {
      if (store) return download({ key, url: "" }, store, options);
      throw new InputError(`${key}: there is no cache, and offline nothing is fetched`, { notFound: true });
    }
    const info = await this.ask(
      (hub, params) => hub.fileDownloadInfo({ ...params, path: escapedPath(path) }),
      async () => store !== undefined && isKept(key, store),
    );
    if (!info) throw new InputError(`${key}: there is no such file`, { notFound: true });
    const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
    // Of large files the ETag is their SHA-256.
    const [, sha256] = /^"?([0-9a-f]{64})"?$/.exec(info.etag) ?? [];
    const wanted = options.sha256?.toLowerCase();
    if (sha256 && wanted && sha256 !== wanted)
      throw new FormatError(`${key}: its SHA-256 is ${sha256}, says the hub, expected ${wanted}`);
    if (store) return download({ key, url: info.url, version: info.etag, sha256 }, store, { ...options, headers });
    const source = await urlSource(info.url, { ...options, headers, name: key, whole: wanted !== undefined });
    if (wanted) await checkSha256(source, wanted, options.signal);
    return source;
  }

  /** @param kept whether there is a copy of what is asked for */
  private async ask<T>(question: (hub: Hub, params: Params) => Promise<T>, kept: () => Promise<boolean>): Promise<T> {
    const { options, token, repo, revision, name } = this;
    const { signal } = options;
    const hub = await loadPeer<Hub>("@huggingface/hub", `${name}: a model from Hugging Face`);
    try {
      return await question(hub, {
        repo,
        revision,
        accessToken: token,
        hubUrl: options.hubUrl?.replace(/\/+$/, ""),
        fetch: (input, init) => persistentFetch(String(input), init, options),
      });
    } catch (cause) {
      signal?.throwIfAborted();
      const { statusCode, message } = cause as Error & { statusCode?: number };
      const hint =
        statusCode === 401 || statusCode === 403 ? "; does it need a token? pass { token }, or set HF_TOKEN" : "";
      const error = new InputError(`${name}: ${message}${hint}`, { cause });
      throw (await kept()) ? offlineHelps(error) : error;
    }
  }
}

/** A fetch that tries again as downloads do. @throws InputError when that doesn't help */
async function persistentFetch(url: string, init: RequestInit = {}, options: SourceOptions): Promise<Response> {
  const c = new Connection(url, options);
  let response: Response | undefined;
  await c.persist(options.signal, async () => {
    response = await c.send(init, options.signal);
    return true;
  });
  return response!;
}
