import type { Json } from "./folder.ts";

export const isObject = (v: unknown): v is Json => typeof v === "object" && v !== null && !Array.isArray(v);
