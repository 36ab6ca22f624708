/** A server for tests of sources: every request is answered by the handler of the moment. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** How one request is answered; `n` counts the requests of a test, from 1. */
export type Handler = (request: IncomingMessage, response: ServerResponse, n: number) => void;

export interface Seen {
  readonly url: string;
  readonly range?: string;
  readonly headers: IncomingMessage["headers"];
}

export class TestServer {
  requests: Seen[] = [];
  private handler: Handler = (_, r) => r.writeHead(500).end();

  private constructor(
    private readonly server: Server,
    /** Without a slash at the end. */
    readonly base: string,
  ) {}

  static async open(): Promise<TestServer> {
    let self: TestServer | undefined;
    const server = createServer((request, response) => {
      const { url = "", headers } = request;
      self!.requests.push({ url, range: headers.range, headers });
      self!.handler(request, response, self!.requests.length);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    self = new TestServer(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return self;
  }

  serve(handler: Handler): void {
    this.handler = handler;
    this.requests = [];
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}

const held: { response: ServerResponse; until: number }[] = [];

/** Told by the client's progress: breaks connections that have sent what they should. */
export function received(loaded: number): void {
  for (const { response, until } of held) if (loaded >= until) response.destroy();
}

export interface Answer {
  /** Bytes after which the connection breaks, when the client has received them: see `received`. */
  readonly cut?: number;
  readonly etag?: string;
  /** Whether the server knows ranges. Default true. */
  readonly ranges?: boolean;
}

/** Answers with the content as a good server does: ranges, If-Range, If-None-Match. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  content: Uint8Array,
  { cut, etag, ranges = true }: Answer = {},
): void {
  const { range, "if-range": ifRange, "if-none-match": known } = request.headers;
  const headers: Record<string, string | number> = etag ? { etag } : {};
  if (etag && known === etag) {
    response.writeHead(304, headers).end();
    return;
  }
  const match = ranges && (ifRange === undefined || ifRange === etag) ? /^bytes=(\d+)-(\d*)$/.exec(range ?? "") : null;
  const size = content.length;
  const start = match ? Number(match[1]) : 0;
  if (match && start >= size) {
    response.writeHead(416, { ...headers, "content-range": `bytes */${size}` }).end();
    return;
  }
  const end = match?.[2] ? Math.min(size, Number(match[2]) + 1) : size;
  if (match) headers["content-range"] = `bytes ${start}-${end - 1}/${size}`;
  response.writeHead(match ? 206 : 200, { ...headers, "content-length": end - start });
  if (cut === undefined) response.end(content.subarray(start, end));
  else {
    const until = Math.min(end, start + cut);
    response.write(content.subarray(start, until));
    held.push({ response, until });
  }
}

/** Bytes that differ everywhere. */
export const bytesOf = (size: number, seed = 2654435761): Uint8Array<ArrayBuffer> =>
  new Uint8Array(size).map((_, i) => (i * seed) >>> 24);
