/**
 * What GPU code is tested with where there is no GPU: the package `@sparticuz/chromium` carries a headless Chromium and
 * SwiftShader, a Vulkan driver that computes on the CPU. They are unpacked into the ignored folder `.cache` when first
 * needed. The package is for Linux on x64: elsewhere the machine's own adapter and browser are used.
 */
import { execFile } from "node:child_process";
import { createReadStream, createWriteStream, existsSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createBrotliDecompress } from "node:zlib";

const root = fileURLToPath(new URL("../", import.meta.url));
const cache = join(root, ".cache");
const carrier = join(root, "node_modules/@sparticuz/chromium");
const carried = process.platform === "linux" && process.arch === "x64";

/** Set to "real" to use the machine's own Vulkan drivers, and to a path to use another Chromium. */
const adapterVariable = "FORWARDPASS_ADAPTER";
const browserVariable = "FORWARDPASS_CHROMIUM";

/** Unpacks some of the carrier's files into a folder of their own, once. */
async function unpack(name: string, files: readonly string[]): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(carrier, "package.json"), "utf8")) as { version: string };
  const folder = join(cache, `${name}-${version}`);
  if (existsSync(folder)) return folder;
  await mkdir(cache, { recursive: true });
  // Made beside its place and renamed when complete, so that processes that want it at once see no halves.
  const work = await mkdtemp(join(cache, "unpack-"));
  try {
    for (const file of files) {
      const target = join(work, file.replace(/\.br$/, ""));
      await pipeline(createReadStream(join(carrier, "bin", file)), createBrotliDecompress(), createWriteStream(target));
      if (!target.endsWith(".tar")) {
        await chmod(target, 0o755);
        continue;
      }
      await promisify(execFile)("tar", ["xf", target, "-C", work]);
      await rm(target);
    }
    await rename(work, folder).catch((e) => {
      if (!existsSync(folder)) throw e;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return folder;
}

const libraries = "swiftshader.tar.br";

const withLibraries = (...folders: string[]): string =>
  [...folders, process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(delimiter);

/**
 * Environment variables with which a Node process gets SwiftShader's adapter from the package `webgpu`. They have to be
 * there when the process starts: the loader of shared libraries reads its path once. Empty where the machine's own
 * drivers are to be used.
 */
export async function adapterEnvironment(): Promise<Record<string, string>> {
  if (!carried || process.env[adapterVariable] === "real") return {};
  const folder = await unpack("swiftshader", [libraries]);
  return { VK_DRIVER_FILES: join(folder, "vk_swiftshader_icd.json"), LD_LIBRARY_PATH: withLibraries(folder) };
}

export interface ChromiumLaunch {
  /** Undefined: the machine's own Chrome. */
  readonly executablePath?: string;
  readonly channel?: "chrome";
  readonly env: Record<string, string>;
  readonly args: string[];
}

/** How to start a headless Chromium with WebGPU, WebGL2 and no traffic of its own: options for playwright's `launch`. */
export async function chromiumLaunch(): Promise<ChromiumLaunch> {
  const real = process.env[adapterVariable] === "real";
  const args = [
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--no-pings",
    "--font-render-hinting=none",
    ...(real
      ? [
          "--ignore-gpu-blocklist",
          ...(process.platform === "linux" ? ["--use-angle=vulkan", "--disable-vulkan-surface"] : []),
        ]
      : [
          "--use-webgpu-adapter=swiftshader",
          // With it, SwiftShader compiles workgroup memory element by element: seconds for each shader with tiles.
          "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
          "--use-gl=angle",
          "--use-angle=swiftshader",
          "--enable-unsafe-swiftshader",
        ]),
  ];
  const env = { ...process.env } as Record<string, string>;
  const own = process.env[browserVariable];
  if (own) return { executablePath: own, env, args };
  if (!carried) return { channel: "chrome", env, args };
  const folder = await unpack("chromium", ["chromium.br", libraries, "al2023.tar.br", "fonts.tar.br"]);
  // The carried settings name folders of the cloud the package was made for.
  const fonts = join(folder, "fonts-here.conf");
  if (!existsSync(fonts)) {
    const settings = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>${join(folder, "fonts")}</dir><cachedir>${join(folder, "fonts-cache")}</cachedir></fontconfig>`;
    await writeFile(fonts, settings);
  }
  const paths = withLibraries(join(folder, "lib"), folder);
  return {
    executablePath: join(folder, "chromium"),
    env: { ...env, LD_LIBRARY_PATH: paths, FONTCONFIG_FILE: fonts },
    args,
  };
}
