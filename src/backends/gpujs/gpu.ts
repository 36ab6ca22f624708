/** The peer `gpu.js`, as far as it is used, and the WebGL2 context that it computes in. */
import { DeviceError, MissingPeerError } from "../../tensor/errors.ts";
import type { HostType } from "../../tensor/host-type.ts";
import { natives } from "./code.ts";

/** A float texture that holds a kernel's result. */
export interface Texture {
  readonly texture: HostType<"WebGLTexture">;
  /** Width and height. */
  readonly size: ArrayLike<number>;
  delete(): void;
}

type Argument = Texture | Float32Array;

export interface GpuFunction {
  (...args: Argument[]): Texture;
  setOutput(output: readonly number[]): GpuFunction;
  destroy(): void;
}

interface Settings {
  output?: readonly number[];
  precision: "single";
  tactic: "precision";
  pipeline: true;
  immutable: true;
  dynamicOutput?: boolean;
  dynamicArguments?: boolean;
}

export interface GpuInstance {
  createKernel(source: string, settings: Settings): GpuFunction;
  addNativeFunction(name: string, source: string): unknown;
}

/** The class `GPU` of `gpu.js`. */
export type GpuConstructor = new (settings: {
  mode: "webgl2";
  canvas: HostType<"OffscreenCanvas"> | undefined;
  context: HostType<"WebGL2RenderingContext">;
}) => GpuInstance;

/** Browsers have a WebGPU interface of the same name. */
const isGpuJs = (c: unknown): c is GpuConstructor =>
  typeof (c as { prototype?: { createKernel?: unknown } } | undefined)?.prototype?.createKernel === "function";

/** `gpu.js` as a page has it after a script element, or after `import "gpu.js"` anywhere: a global. */
function globalGpuJs(): GpuConstructor | undefined {
  const { GPU } = globalThis as { GPU?: unknown };
  return isGpuJs(GPU) ? GPU : undefined;
}

/** @throws MissingPeerError */
export function requireGpuJs(given: GpuConstructor | undefined): GpuConstructor {
  const found = given ?? globalGpuJs();
  if (found) return found;
  throw new MissingPeerError(
    'gpujs: the package gpu.js is not loaded: npm install gpu.js, then import "gpu.js" in the page, or pass { GPU }',
  );
}

/**
 * Settings of every kernel. "precision" is highp: mobile GPUs compute in fewer bits otherwise. "immutable": a texture that
 * somebody holds is not drawn over by the next call.
 */
const settings = { precision: "single", tactic: "precision", pipeline: true, immutable: true } as const;

export class GpuContext {
  private readonly gpu: GpuInstance;
  private readonly copy: GpuFunction;
  private readonly compiled = new Map<string, { readonly run: GpuFunction; users: number }>();
  private readonly vertices: WebGLBuffer;
  readonly gl: WebGL2RenderingContext;

  /** @throws DeviceError where WebGL2 or its float textures are missing */
  constructor(GPU: GpuConstructor) {
    const canvas = typeof OffscreenCanvas === "undefined" ? undefined : new OffscreenCanvas(1, 1);
    const context = canvas?.getContext("webgl2", { antialias: false, depth: false, alpha: false });
    if (!context) throw new DeviceError("gpujs: no WebGL2 here; use the wasm device");
    if (!context.getExtension("EXT_color_buffer_float"))
      throw new DeviceError("gpujs: this host's WebGL2 has no float textures to draw to; use the wasm device");
    this.gl = context;
    this.vertices = context.createBuffer();
    context.bindBuffer(context.ARRAY_BUFFER, this.vertices);
    // Of a strip that covers everything, as gpu.js has it: positions, then coordinates of textures.
    const corners = Float32Array.of(-1, -1, 1, -1, -1, 1, 1, 1, 0, 0, 1, 0, 0, 1, 1, 1);
    context.bufferData(context.ARRAY_BUFFER, corners, context.STATIC_DRAW);
    this.gpu = new GPU({ mode: "webgl2", canvas, context });
    for (const [name, source] of Object.entries(natives)) this.gpu.addNativeFunction(name, source);
    this.copy = this.gpu.createKernel("function (x) { return x[this.thread.x]; }", {
      ...settings,
      dynamicOutput: true,
      dynamicArguments: true,
    });
  }

  get lost(): boolean {
    return this.gl.isContextLost();
  }

  /** A function that computes `count` elements, shared by all who ask for it until each has let go of it. */
  compile(source: string, count: number): { run(operands: readonly Texture[]): Texture; letGo(): void } {
    const key = `${count} ${source}`;
    let compiled = this.compiled.get(key);
    if (!compiled) {
      compiled = { run: this.gpu.createKernel(source, { ...settings, output: [count] }), users: 0 };
      this.compiled.set(key, compiled);
    }
    const { run } = compiled;
    compiled.users++;
    const letGo = (): void => {
      if (--compiled.users > 0) return;
      this.compiled.delete(key);
      this.keepVertices();
      run.destroy();
    };
    return { run: (operands) => this.guarded(() => run(...operands)), letGo };
  }

  /** All functions draw with the vertices of the one that was built last, which go with it: from now on, with these. */
  private keepVertices(): void {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.vertices);
    for (const attribute of [0, 1]) {
      if (!gl.getVertexAttrib(attribute, gl.VERTEX_ATTRIB_ARRAY_ENABLED)) continue;
      const offset = gl.getVertexAttribOffset(attribute, gl.VERTEX_ATTRIB_ARRAY_POINTER);
      gl.vertexAttribPointer(attribute, 2, gl.FLOAT, false, 0, offset);
    }
  }

  /** A new texture with these elements; the caller deletes it. */
  upload(data: Float32Array): Texture {
    return this.guarded(() => this.copy.setOutput([data.length])(data));
  }

  /** Calls `gpu.js`, which has errors of its own where the context is lost. */
  private guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (e) {
      this.assertAlive();
      throw e;
    }
  }

  /** The elements of a texture, without stopping the thread while the GPU is still at work. */
  async read(texture: Texture, count: number): Promise<Float32Array> {
    const { gl } = this;
    const [width, height] = Array.from(texture.size);
    const frame = gl.createFramebuffer();
    const pixels = gl.createBuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture.texture, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pixels);
    // Four channels are what every host can read; the elements are in the first.
    const texels = new Float32Array(4 * width * height);
    gl.bufferData(gl.PIXEL_PACK_BUFFER, texels.byteLength, gl.STREAM_READ);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.FLOAT, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.deleteFramebuffer(frame);
    await this.finished();
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pixels);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, texels);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.deleteBuffer(pixels);
    this.assertAlive();
    return Float32Array.from({ length: count }, (_, i) => texels[4 * i]);
  }

  /** Resolves when the GPU has done what it was given. */
  async finished(): Promise<void> {
    const { gl } = this;
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.assertAlive();
    gl.flush();
    while (gl.clientWaitSync(fence!, 0, 0) === gl.TIMEOUT_EXPIRED) {
      this.assertAlive();
      await new Promise((resolve) => setTimeout(resolve));
    }
    gl.deleteSync(fence);
  }

  /** @throws DeviceError when the browser took the GPU away */
  assertAlive(): void {
    if (this.lost) throw new DeviceError("gpujs: the WebGL context was lost; load the model again");
  }
}

const shared = new WeakMap<GpuConstructor, GpuContext>();

/**
 * The context that all who compute with this class share, since browsers have only a few; a new one after it was lost.
 * @throws DeviceError where WebGL2 or its float textures are missing
 */
export function sharedContext(GPU: GpuConstructor): GpuContext {
  let context = shared.get(GPU);
  if (!context || context.lost) shared.set(GPU, (context = new GpuContext(GPU)));
  return context;
}
