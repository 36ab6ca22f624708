/** What `$ref` points to in a schema: all of it, a place in it by a JSON pointer, or what has the name as `$anchor`. */
import { byName, type JsonSchema, type SchemaObject, values } from "./json-keywords.ts";

export class References {
  private readonly anchors = new Map<string, SchemaObject[]>();
  /** Schemas in one with an `$id` of its own: there, `#` is that one. */
  private readonly apart = new Set<object>();
  private isRead = false;

  constructor(private readonly root: JsonSchema) {}

  /** What the `$ref` of a schema points to. @param fail throws, with why there is nothing */
  target(schema: SchemaObject, fail: (message: string) => never): JsonSchema {
    const ref = schema["$ref"];
    if (typeof ref !== "string" || !ref.startsWith("#"))
      return fail(`"$ref" has to point into the schema: "#/$defs/..."`);
    if (!this.isRead) this.read();
    if (this.apart.has(schema)) fail('"$ref" inside of a schema with an "$id" of its own is not supported');
    const fragment = decoded(ref.slice(1)) ?? fail(`"$ref": "${ref}" has a "%" that is no code of a character`);
    if (fragment !== "" && !fragment.startsWith("/")) {
      const named = this.anchors.get(fragment) ?? [];
      if (named.length > 1) fail(`"${ref}" is there ${named.length} times: give each "$anchor" a name of its own`);
      return named[0] ?? fail(`"${ref}" is not there: no schema has the "$anchor" "${fragment}"`);
    }
    let at: unknown = this.root;
    for (const key of fragment.split("/").slice(1)) {
      const name = key.replaceAll("~1", "/").replaceAll("~0", "~");
      const has = typeof at === "object" && at !== null && Object.hasOwn(at, name);
      at = has ? (at as Record<string, unknown>)[name] : undefined;
    }
    return at === undefined ? fail(`"${ref}" is not there`) : (at as JsonSchema);
  }

  private read(): void {
    this.isRead = true;
    const seen = new Set<unknown>();
    const waiting: { at: unknown; named: boolean; apart: boolean }[] = [{ at: this.root, named: false, apart: false }];
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { at, named } = next;
      if (typeof at !== "object" || at === null || seen.has(at)) continue;
      seen.add(at);
      const { $id, $anchor } = named ? ({} as SchemaObject) : (at as SchemaObject);
      const apart = next.apart || (at !== this.root && typeof $id === "string" && !$id.startsWith("#"));
      if (apart) this.apart.add(at);
      else if (typeof $anchor === "string")
        this.anchors.set($anchor, [...(this.anchors.get($anchor) ?? []), at as SchemaObject]);
      for (const [key, value] of Object.entries(at))
        if (named || !values.has(key)) waiting.push({ at: value, named: !named && byName.has(key), apart });
    }
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
