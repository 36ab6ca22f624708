/** Runs a script of this folder in a process of its own: memory and exits are only certain there. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Ended {
  /** Undefined: killed at the time limit. */
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param name of the script; its arguments follow */
export function runScript(name: string, args: readonly string[], { flags = [] as string[], limitMs = 240_000 } = {}) {
  const script = fileURLToPath(new URL(`scripts/${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, [...flags, "--import", "tsx", script, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: limitMs,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (d) => (stdout += d));
  child.stderr.on("data", (d) => (stderr += d));
  return new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code: code ?? undefined, stdout, stderr }));
  });
}

/** What the script printed as JSON. Throws with its standard error if it failed. */
export async function resultOf<T>(name: string, ...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await runScript(name, args, { flags: ["--expose-gc"] });
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
}
