/** Pages for a browser: bundled as users' bundlers do it, and served with the headers and ranges that engines are about. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { pipeline } from "node:stream/promises";
import { type BuildOptions, type BuildResult, build } from "esbuild";

type InMemory = { write: false; metafile: true };

/** Bundles for browsers, minified, with dynamic imports as files of their own; nothing is written. */
export const bundleForPage = (options: BuildOptions): Promise<BuildResult<InMemory>> =>
  build({
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    outdir: "out",
    logLevel: "error",
    ...options,
    write: false,
    metafile: true,
  });

const types: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".css": "text/css",
  ".wasm": "application/wasm",
};
/** What makes a page cross-origin isolated, so that memory can be shared between threads. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const page = '<!doctype html><meta charset="utf-8"><title>page</title>';
const script = '<script type="module" src="/page.js"></script>';

export interface PageServer {
  /** Without a slash at the end. */
  readonly url: string;
  /** The `Range` headers of requests for a path so far. */
  rangesOf(path: string): (string | undefined)[];
  close(): Promise<void>;
}

/**
 * Serves `/` as a page, isolated unless asked with `?plain`, that runs the bundle of `entry`, if there is one.
 * @param folders that are served too, by the first part of the path
 */
export async function startServer(
  entry: string | undefined,
  folders: Readonly<Record<string, string>>,
): Promise<PageServer> {
  const entryPoints = entry ? [{ in: entry, out: "page" }] : [];
  const { outputFiles } = await bundleForPage({ entryPoints, external: ["node:*"] });
  const scripts = new Map(outputFiles.map((f) => [`/${f.path.split(/[\\/]/).at(-1)}`, f.contents]));
  const requests = new Map<string, (string | undefined)[]>();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url!, "http://localhost");
    const type = pathname === "/" ? types[".html"] : (types[extname(pathname)] ?? "application/octet-stream");
    const headers = {
      "Content-Type": type,
      "Cache-Control": "no-store",
      ...(searchParams.has("plain") ? {} : isolation),
    };
    const made = pathname === "/" ? page + (entry ? script : "") : scripts.get(pathname);
    if (made) {
      response.writeHead(200, headers).end(made);
      return;
    }
    const [first, ...rest] = normalize(pathname).slice(1).split(/[\\/]/);
    const folder = folders[first];
    if (!folder) throw Object.assign(new Error(`no ${pathname}`), { code: "ENOENT" });
    const file = join(folder, ...rest);
    const { size } = await stat(file);
    const { range } = request.headers;
    requests.set(pathname, [...(requests.get(pathname) ?? []), range]);
    const match = range?.match(/^bytes=(\d+)-(\d*)$/);
    if (!match) {
      response.writeHead(200, { ...headers, "Content-Length": size });
      return await pipeline(createReadStream(file), response);
    }
    const start = Number(match[1]);
    const end = Math.min(match[2] ? Number(match[2]) : Number.POSITIVE_INFINITY, size - 1);
    response.writeHead(206, { ...headers, "Content-Range": `bytes ${start}-${end}/${size}`, "Accept-Ranges": "bytes" });
    await pipeline(createReadStream(file, { start, end }), response);
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((e) => {
      if (response.headersSent) response.destroy();
      else response.writeHead(e.code === "ENOENT" ? 404 : 500).end(String(e.message));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rangesOf: (path) => requests.get(path) ?? [],
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
