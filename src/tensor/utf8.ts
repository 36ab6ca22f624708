/** UTF-8 both ways. Encoder and decoder are made when they are needed: test runners have them only once they are told to. */
let encoder: TextEncoder | undefined;
let decoder: TextDecoder | undefined;

export const encodeUtf8 = (text: string): Uint8Array => (encoder ??= new TextEncoder()).encode(text);

/** Invalid UTF-8 becomes U+FFFD, for vocabularies hold pieces of characters. U+FEFF is a character, no mark. */
export const decodeUtf8 = (bytes: Uint8Array): string =>
  (decoder ??= new TextDecoder("utf-8", { ignoreBOM: true })).decode(bytes);
