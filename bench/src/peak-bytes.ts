import { readFileSync } from "node:fs";

/**
 * The most that was resident of this process. On Linux the kernel's count for this program alone: `maxRSS` is that of the
 * process it was started from, if larger.
 */
export function peakBytes(): number {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS * 1024;
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}
