/** Fields of a `config.json`, whose values may be anything that JSON holds. */
import { FormatError } from "../../tensor/errors.ts";
import type { Json } from "../folder.ts";
import { isObject } from "../is-object.ts";

/** An object of the configuration. Fields that are `null` count as missing. */
export class Fields {
  /** @param path what it is called in messages: `rope_scaling.` before its fields */
  constructor(
    readonly file: string,
    readonly json: Json,
    private readonly path = "",
  ) {}

  /** The first of the fields that is there. @throws FormatError for one that is no number */
  number(...keys: string[]): number | undefined {
    const key = keys.find((k) => (this.json[k] ?? undefined) !== undefined);
    if (key === undefined) return undefined;
    const value = this.json[key];
    return typeof value === "number" ? value : this.wrong(key, "a number");
  }

  /** @throws FormatError for one that is missing */
  need(...keys: string[]): number {
    return this.number(...keys) ?? this.fail(`config.json has no ${this.path}${keys[0]}`);
  }

  /** @throws FormatError for one that is no number above 0 */
  positive(key: string): number | undefined {
    const value = this.number(key);
    return value === undefined || (value > 0 && value < Infinity) ? value : this.wrong(key, "a number above 0");
  }

  /** @throws FormatError for one that is missing, or no number above 0 */
  needPositive(key: string): number {
    return this.positive(key) ?? this.need(key);
  }

  /** @throws FormatError for one that is no object */
  object(key: string): Fields | undefined {
    const value = this.json[key] ?? undefined;
    if (value === undefined) return undefined;
    return isObject(value) ? new Fields(this.file, value, `${this.path}${key}.`) : this.wrong(key, "an object");
  }

  wrong(key: string, expected: string): never {
    return this.fail(`${this.path}${key} in config.json is ${JSON.stringify(this.json[key])}, not ${expected}`);
  }

  fail(message: string): never {
    throw new FormatError(`${this.file}: ${message}`);
  }
}
