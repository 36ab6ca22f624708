/** Checksums of sources. */
import { builtin } from "../../tensor/builtin.ts";
import { FormatError, InputError } from "../../tensor/errors.ts";
import { type ByteSource, hasFileSystem } from "../source.ts";

export type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";

const stepBytes = 8 << 20;
/** What a browser hashes at once. */
const wholeUpTo = 2 ** 31 - 1;

/** @throws InputError for more than 2 GiB in a browser */
async function digest(source: ByteSource, hash: HashName, signal?: AbortSignal): Promise<Uint8Array> {
  if (hasFileSystem()) {
    const { createHash } = await builtin("node:crypto");
    const state = createHash(hash.replace("-", "").toLowerCase());
    for (let at = 0; at < source.size; at += stepBytes) {
      signal?.throwIfAborted();
      state.update(await source.read(at, Math.min(stepBytes, source.size - at), signal));
    }
    return new Uint8Array(state.digest());
  }
  if (source.size > wholeUpTo) throw new InputError(`${source.name}: browsers check at most 2 GiB against a checksum`);
  const bytes = await source.read(0, source.size, signal);
  return new Uint8Array(await crypto.subtle.digest(hash, bytes as Uint8Array<ArrayBuffer>));
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");

/** A short name for a text, different for different ones. */
export async function shortHash(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return hex(new Uint8Array(bytes)).slice(0, 16);
}

/** @throws InputError for a text that is no SHA-256 in hexadecimal */
export function assertSha256(sha256: string): void {
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/i.test(sha256))
    throw new InputError(`sha256 takes 64 hexadecimal digits, got ${JSON.stringify(sha256)}`);
}

/** @throws FormatError unless the file has this SHA-256, in hexadecimal; InputError as `assertSha256` */
export async function checkSha256(source: ByteSource, sha256: string, signal?: AbortSignal): Promise<void> {
  assertSha256(sha256);
  const got = hex(await digest(source, "SHA-256", signal));
  if (got !== sha256.toLowerCase())
    throw new FormatError(`${source.name}: its SHA-256 is ${got}, expected ${sha256.toLowerCase()}`);
}

const integrityHashes: Readonly<Record<string, HashName>> = {
  sha512: "SHA-512",
  sha384: "SHA-384",
  sha256: "SHA-256",
  sha1: "SHA-1",
};

/**
 * @param integrity as in https://www.w3.org/TR/sri: `sha512-` and base64; of several the strongest counts
 * @throws FormatError unless the file has it
 */
export async function checkIntegrity(source: ByteSource, integrity: string, signal?: AbortSignal): Promise<void> {
  const given = integrity.split(/\s+/).map((s) => /^(\w+)-([^?]+)/.exec(s));
  for (const [name, hash] of Object.entries(integrityHashes)) {
    const wanted = given.filter((m) => m?.[1] === name).map((m) => m![2]);
    if (wanted.length === 0) continue;
    const got = btoa(String.fromCharCode(...(await digest(source, hash, signal))));
    if (!wanted.includes(got))
      throw new FormatError(`${source.name}: its ${hash} is ${got}, expected ${wanted.join(" or ")}`);
    return;
  }
  throw new FormatError(`${source.name}: no known checksum in ${JSON.stringify(integrity)}`);
}
