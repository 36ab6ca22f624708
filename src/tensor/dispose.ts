/** `Symbol.dispose`, or what bundlers' helpers for `using` take for it where an engine has none (Safari). */
export const symbolDispose: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for("Symbol.dispose");
