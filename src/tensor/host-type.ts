/**
 * The type of a class that only some hosts have, for public signatures: who compiles against the package needs no types of
 * hosts that it doesn't use. `unknown` where it isn't declared, `never` where it is one of several.
 */
export type HostType<Name extends string, Missing = unknown> =
  typeof globalThis extends Record<Name, { prototype: infer Instance }> ? Instance : Missing;
