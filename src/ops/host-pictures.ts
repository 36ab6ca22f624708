/**
 * Pictures in pages and workers: what the host decodes, and what it can draw. Source: HTML, `createImageBitmap` and
 * `CanvasRenderingContext2D`; WebGL 1.0.
 */
import { InputError } from "../tensor/errors.ts";

/** Upright, RGBA, in the colours of the file. Undefined for bytes that the host knows no picture in. */
export async function decodeByHost(bytes: Uint8Array): Promise<ImageData | undefined> {
  // A copy: memory that threads share can't be in a Blob.
  const bitmap = await bitmapOf(new Blob([new Uint8Array(bytes)])).catch(() => undefined);
  return bitmap && pixelsOf(bitmap);
}

/** @throws InputError for what has no picture, or one that the page may not read */
export async function drawnByHost(source: ImageBitmapSource): Promise<ImageData> {
  const bitmap = await bitmapOf(source).catch((cause: Error) => {
    const what = Object.prototype.toString.call(source);
    throw new InputError(`image: ${what} has no picture (an img has one after await img.decode()): ${cause.message}`, {
      cause,
    });
  });
  return pixelsOf(bitmap);
}

const bitmapOf = async (source: ImageBitmapSource): Promise<ImageBitmap> =>
  createImageBitmap(source, { premultiplyAlpha: "none", colorSpaceConversion: "none" });

function pixelsOf(bitmap: ImageBitmap): ImageData {
  const { width, height } = bitmap;
  try {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, width, height);
    if (!isOpaque(pixels.data)) copyColours(bitmap, pixels.data);
    return pixels;
  } catch (cause) {
    const why = (cause as Error).message;
    throw new InputError(`image: the pixels can't be read (of another origin: set crossOrigin = "anonymous"): ${why}`, {
      cause,
    });
  } finally {
    bitmap.close();
  }
}

function isOpaque(rgba: Uint8ClampedArray): boolean {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] < 255) return false;
  return true;
}

/** A canvas keeps colours times their alpha, so that those of faint pixels are lost. A texture keeps them, where it is not too large. */
function copyColours(bitmap: ImageBitmap, rgba: Uint8ClampedArray): void {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return;
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(rgba.buffer));
  // Hosts have few contexts.
  gl.getExtension("WEBGL_lose_context")?.loseContext();
}
