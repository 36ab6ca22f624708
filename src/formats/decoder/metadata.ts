/** Typed access to the metadata of a GGUF file. */
import { FormatError } from "../../tensor/errors.ts";
import type { GgufFile } from "../gguf/index.ts";
import type { PackedValue } from "../gguf/values.ts";
import { StringList } from "../string-list.ts";

export class Metadata {
  readonly architecture: string;

  constructor(
    private readonly file: Pick<GgufFile<PackedValue>, "metadata">,
    readonly name: string,
  ) {
    this.architecture = this.text("general.architecture") ?? this.missing("general.architecture");
  }

  /** `key` of this architecture, `llama.block_count`, or the whole key where it has a dot already. */
  get(key: string): PackedValue | undefined {
    return this.file.metadata.get(`${this.architecture}.${key}`) ?? this.file.metadata.get(key);
  }

  number(key: string): number | undefined {
    const v = this.get(key);
    if (v === undefined || typeof v === "number") return v;
    // Some models have one for each layer: where all are equal it is as good as one.
    const list = typeof v === "object" ? [...(v as Int32Array)].map(Number) : [];
    if (list.length > 0 && list.every((n) => n === list[0])) return list[0];
    throw new FormatError(`${this.name}: metadata "${key}" is not one number`);
  }

  need(key: string): number {
    return this.number(key) ?? this.missing(`${this.architecture}.${key}`);
  }

  text(key: string): string | undefined {
    const v = key.startsWith("general.") ? this.file.metadata.get(key) : this.get(key);
    return typeof v === "string" ? v : undefined;
  }

  flag(key: string): boolean | undefined {
    const v = this.get(key);
    return typeof v === "boolean" ? v : undefined;
  }

  flags(key: string): readonly boolean[] | undefined {
    const v = this.get(key);
    return Array.isArray(v) && typeof v[0] === "boolean" ? (v as boolean[]) : undefined;
  }

  texts(key: string): StringList | undefined {
    const v = this.get(key);
    if (Array.isArray(v) && typeof v[0] === "string") return StringList.of(v as string[]);
    return v instanceof StringList && v.length > 0 ? v : undefined;
  }

  numbers(key: string): ArrayLike<number> | undefined {
    const v = this.get(key);
    return ArrayBuffer.isView(v) && !(v instanceof BigInt64Array) && !(v instanceof BigUint64Array)
      ? (v as Int32Array)
      : undefined;
  }

  missing(key: string): never {
    throw new FormatError(`${this.name}: metadata "${key}" is missing`);
  }
}
