import type { OptionNames } from "../tensor/options.ts";
import type { FetchOptions } from "./source.ts";

/** The names of how files are fetched and kept, for what checks options that hold them. */
export const fetchOptionNames: OptionNames<FetchOptions> = {
  cache: true,
  offline: true,
  sha256: true,
  token: true,
  hubUrl: true,
  registry: true,
  retries: true,
  retryDelay: true,
  headers: true,
  fetch: true,
};
