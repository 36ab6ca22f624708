import type { OwnBytes } from "../../../tensor/dtype.ts";
import type { ValueType } from "./expr.ts";
import {
  type Func,
  FunctionBuilder,
  localAt,
  type Params,
  type ParamTypes,
  type ResultType,
  valueTypeCode,
} from "./func.ts";
import { Writer } from "./writer.ts";

export interface MemoryLimits {
  /** In pages of 64 KiB. */
  readonly min: number;
  /** Required for a shared memory. */
  readonly max?: number;
  readonly shared?: boolean;
}

export interface FunctionType<P extends ParamTypes, R extends ResultType> {
  /** Shown by profilers and in stack traces; also the export name when `export` is true. */
  readonly name: string;
  readonly params: P;
  readonly result?: R;
  readonly export?: boolean;
}

const externalKind = { function: 0, memory: 2 } as const;

/** Collects imports, functions and one memory, and writes them as a binary module. */
export class ModuleBuilder {
  /** By what they take and return. */
  private readonly types = new Map<string, { index: number; params: readonly ValueType[]; result: ResultType }>();
  private readonly functions: { name: string; typeIndex: number; body?: { from: number; to: number } }[] = [];
  /** Of all functions, in the order in which they were finished. */
  private readonly bodies = new Writer();
  /** Functions are made within others: these were of such that are finished. */
  private readonly idle: Writer[] = [];
  private readonly imports: ((out: Writer) => void)[] = [];
  private readonly exports: { name: string; kind: number; index: number }[] = [];
  private ownMemory: MemoryLimits | undefined;
  private importedFunctions = 0;

  importMemory(module: string, name: string, limits: MemoryLimits): void {
    this.import(module, name, (out) => {
      out.byte(externalKind.memory);
      writeLimits(out, limits);
    });
  }

  memory(limits: MemoryLimits & { readonly export?: string }): void {
    this.ownMemory = limits;
    if (limits.export) this.exports.push({ name: limits.export, kind: externalKind.memory, index: 0 });
  }

  /** Imports come first in the index space, so they must be declared before the first function. */
  importFunction<P extends ParamTypes, R extends ResultType = undefined>(
    module: string,
    type: FunctionType<P, R>,
  ): Func<P, R> {
    if (this.functions.length > this.importedFunctions) throw new Error("import functions before defining any");
    const typeIndex = this.typeIndex(type.params, type.result);
    this.import(module, type.name, (out) => {
      out.byte(externalKind.function);
      out.u32(typeIndex);
    });
    this.importedFunctions++;
    return this.declare(type, typeIndex);
  }

  exportFunction(name: string, index: number): void {
    this.exports.push({ name, kind: externalKind.function, index });
  }

  /** Defines a function. The body runs at once, and gets the builder, its parameters by name, and itself. */
  func<P extends ParamTypes, R extends ResultType = undefined>(
    type: FunctionType<P, R>,
    body: (f: FunctionBuilder, params: Params<P>, self: Func<P, R>) => void,
  ): Func<P, R> {
    const entries = Object.entries(type.params);
    const self = this.declare(type, this.typeIndex(type.params, type.result));
    const code = this.idle.pop() ?? new Writer();
    const prologue = this.idle.pop() ?? new Writer();
    const f = new FunctionBuilder(entries.length, type.result, code, prologue);
    body(f, Object.fromEntries(entries.map(([name, t], i) => [name, localAt(t, i)])) as Params<P>, self);
    const from = this.bodies.length;
    f.finish(this.bodies);
    this.functions[self.index].body = { from, to: this.bodies.length };
    for (const writer of [prologue, code]) {
      writer.truncate(0);
      writer.addressesFrom = undefined;
      this.idle.push(writer);
    }
    return self;
  }

  toBytes(): OwnBytes {
    const out = new Writer();
    out.append([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    const own = this.functions.slice(this.importedFunctions);
    const memories = this.ownMemory ? [this.ownMemory] : [];
    vector(out, 1, [...this.types.values()], (section, { params, result }) => {
      section.byte(0x60);
      section.u32(params.length);
      for (const type of params) section.byte(valueTypeCode[type]);
      section.u32(result ? 1 : 0);
      if (result) section.byte(valueTypeCode[result]);
    });
    vector(out, 2, this.imports, (section, write) => write(section));
    vector(out, 3, own, (section, { typeIndex }) => section.u32(typeIndex));
    vector(out, 5, memories, writeLimits);
    vector(out, 7, this.exports, (section, { name, kind, index }) => {
      section.name(name);
      section.byte(kind);
      section.u32(index);
    });
    vector(out, 10, own, (section, { name, body }) => {
      if (!body) throw new Error(`function "${name}" has no body`);
      section.sized(this.bodies.view(body.from, body.to));
    });
    this.writeNames(out);
    return out.toBytes();
  }

  private import(module: string, name: string, describe: (out: Writer) => void): void {
    this.imports.push((out) => {
      out.name(module);
      out.name(name);
      describe(out);
    });
  }

  private declare<P extends ParamTypes, R extends ResultType>(type: FunctionType<P, R>, typeIndex: number): Func<P, R> {
    const index = this.functions.length;
    this.functions.push({ name: type.name, typeIndex });
    if (type.export) this.exportFunction(type.name, index);
    return { index, params: type.params, result: type.result as R };
  }

  private typeIndex(named: ParamTypes, result: ResultType): number {
    const params = Object.values(named);
    const key = `${params} ${result}`;
    let type = this.types.get(key);
    if (!type) this.types.set(key, (type = { index: this.types.size, params, result }));
    return type.index;
  }

  /** The custom "name" section, subsection 1: function names. */
  private writeNames(out: Writer): void {
    const names = new Writer();
    names.u32(this.functions.length);
    this.functions.forEach(({ name }, index) => {
      names.u32(index);
      names.name(name);
    });
    const section = new Writer();
    section.name("name");
    section.byte(1);
    section.sized(names.view());
    out.byte(0);
    out.sized(section.view());
  }
}

function writeLimits(out: Writer, { min, max, shared }: MemoryLimits): void {
  if (shared && max === undefined) throw new Error("a shared memory needs a maximum");
  out.byte((shared ? 2 : 0) | (max === undefined ? 0 : 1));
  out.u32(min);
  if (max !== undefined) out.u32(max);
}

/** A section that holds a vector; nothing at all when the vector is empty. */
function vector<T>(out: Writer, id: number, items: readonly T[], write: (section: Writer, item: T) => void): void {
  if (items.length === 0) return;
  const section = new Writer();
  section.u32(items.length);
  for (const item of items) write(section, item);
  out.byte(id);
  out.sized(section.view());
}
