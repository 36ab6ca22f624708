/** How many tokens go into a run. */
import type { Session } from "../../graph/session.ts";

/**
 * Tokens of one run: few sizes, so that there are few plans. A rest is filled up with tokens that the next run overwrites:
 * a product with 8 rows takes less than three with one. What computes on the CPU does 8 rows nearly as fast a row as 32; on a
 * GPU runs of few tokens take as long as those of more.
 */
const chunkSizes = { host: [128, 8, 1], gpu: [128, 32, 8, 1] } as const;
export const isHost = ({ device }: Session): boolean => device.name === "cpu" || device.name === "wasm";
/** The least number of tokens that a run is filled up to. */
export const leastFilled = 8;
/** Tokens of one run where any number is taken as it is. */
const mostTokens = 512;
/** The same for tokens of several sequences. What fills them up is in none, and costs what a token costs. */
export const sharedSizes = [1, 2, 4, 8, 16, 32, 64, 128] as const;

/**
 * How many tokens a run takes: a few sizes, the rest filled up; any number, exactly, for models whose results depend on what
 * a run holds beside a token; or one.
 */
export type RunSizes = "few" | "exact" | "one";

const oneToken = { size: 1, used: 1 };

/** How many of `rest` tokens the next run takes, and how many of them are wanted. @param room what is left of the context */
export function chunkOf(
  rest: number,
  room: number,
  runSizes: RunSizes,
  session: Session,
): { size: number; used: number } {
  if (rest === 1 || runSizes === "one") return oneToken;
  if (runSizes === "exact") return { size: Math.min(rest, mostTokens), used: Math.min(rest, mostTokens) };
  const sizes = isHost(session) ? chunkSizes.host : chunkSizes.gpu;
  const whole = sizes.find((size) => size <= rest)!;
  const filled = Math.min(...sizes.filter((size) => size >= rest));
  // On a GPU 20 tokens run as 32, and 40 as 32 and 8.
  if (filled <= room && filled < 2 * rest) return { size: filled, used: rest };
  if (whole === 1 && rest > 2 && leastFilled <= room) return { size: leastFilled, used: rest };
  return { size: whole, used: whole };
}
