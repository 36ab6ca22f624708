/**
 * forwardpass: run trained models anywhere JavaScript runs.
 *
 * Nothing but these lines: bundlers follow them to what a page uses, and leave operators to be loaded by the models
 * that have them.
 */
export * from "./api.ts";
export * from "./ops/index.ts";
export * from "./values.ts";
