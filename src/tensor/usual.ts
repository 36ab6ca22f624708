/**
 * Whether options have no names but these. What checks all others (`options.ts`) is loaded for who has them: most pages don't.
 * False for what is no object.
 */
export const areUsual = (options: object, names: string): boolean =>
  Object.keys(Object(options) === options ? options : "?").every((name) => names.split(" ").includes(name));
