/** A local web server for browser tests: bundles and files, with the headers and ranges that the tests are about. */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Folders by the first part of the path. */
const folders: Record<string, string> = {
  models: join(root, "examples/models"),
  conformance: join(root, "../shared/conformance/dev"),
};
const types: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".json": "application/json",
  ".css": "text/css",
};
/** What makes a page cross-origin isolated, so that memory can be shared between threads. */
const isolation = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export interface TestServer {
  /** Without a slash at the end. */
  readonly url: string;
  /** The `Range` headers of requests for a path so far. */
  rangesOf(path: string): (string | undefined)[];
  close(): Promise<void>;
}

/** Bundles an entry for browsers as users' bundlers do, with its dynamic imports as files of their own. */
async function bundle(entry: string): Promise<Map<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: [{ in: entry, out: "kit" }],
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    outdir: "/bundle",
    write: false,
    logLevel: "silent",
  });
  return new Map(outputFiles.map((f) => [`/${f.path.split(/[\\/]/).at(-1)}`, f.contents]));
}

/** Serves `/` as a page, isolated unless asked with `?plain`, that runs the bundle of `entry`. */
export async function startServer(entry: string): Promise<TestServer> {
  const scripts = await bundle(entry);
  const requests = new Map<string, (string | undefined)[]>();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url!, "http://localhost");
    const type = types[extname(pathname)] ?? "application/octet-stream";
    const headers = { "Content-Type": type, "Cache-Control": "no-store" };
    if (pathname === "/") {
      const page =
        '<!doctype html><meta charset="utf-8"><title>kit</title><script type="module" src="/kit.js"></script>';
      response.writeHead(200, {
        ...headers,
        "Content-Type": types[".html"],
        ...(searchParams.has("plain") ? {} : isolation),
      });
      response.end(page);
      return;
    }
    const script = scripts.get(pathname);
    if (script) {
      response.writeHead(200, { ...headers, ...isolation }).end(script);
      return;
    }
    const [first, ...rest] = normalize(pathname).slice(1).split(/[\\/]/);
    const folder = folders[first];
    if (!folder) throw Object.assign(new Error(`no ${pathname}`), { code: "ENOENT" });
    const bytes = await readFile(join(folder, ...rest));
    const { range } = request.headers;
    requests.set(pathname, [...(requests.get(pathname) ?? []), range]);
    const match = range?.match(/^bytes=(\d+)-(\d*)$/);
    if (!match) {
      response.writeHead(200, { ...headers, "Content-Length": bytes.length }).end(bytes);
      return;
    }
    const from = Number(match[1]);
    const to = Math.min(match[2] ? Number(match[2]) : Number.POSITIVE_INFINITY, bytes.length - 1);
    response
      .writeHead(206, { ...headers, "Content-Range": `bytes ${from}-${to}/${bytes.length}`, "Accept-Ranges": "bytes" })
      .end(bytes.subarray(from, to + 1));
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((e) => {
      response.writeHead(e.code === "ENOENT" ? 404 : 500).end(String(e.message));
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
