/** Places that hold many files: packages, repositories. */
import { type ByteSource, checkSibling } from "../source.ts";
import { modelFileAmong } from "./folder.ts";

export interface FileTree {
  /** `npm:NAME@VERSION`. */
  readonly name: string;
  files(): Promise<readonly string[]>;
  /** @throws InputError for a file that is not there */
  open(path: string): Promise<ByteSource>;
}

/** A file of a tree, with those beside it as its siblings. An empty path, or one that ends in `/`, is a folder. */
export async function sourceIn(tree: FileTree, path: string): Promise<ByteSource> {
  checkSibling(tree.name, path);
  let file = path;
  if (file === "" || file.endsWith("/")) {
    const inside = (await tree.files()).filter((f) => f.startsWith(path)).map((f) => f.slice(path.length));
    file = path + modelFileAmong(inside, `${tree.name}/${path}`);
  }
  const source = await tree.open(file);
  const name = `${tree.name}/${file}`;
  return {
    ...source,
    name,
    async sibling(other) {
      checkSibling(name, other);
      return sourceIn(tree, file.slice(0, file.lastIndexOf("/") + 1) + other.replace(/^(\.\/)+/, ""));
    },
  };
}
