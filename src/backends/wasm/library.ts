/**
 * Functions that the modules of a session share. The first module that has one exports it and later modules import it:
 * a plan for another input shape emits its steps alone, and their products, say, run as optimised as they already are.
 */
import type { Func, ModuleBuilder } from "./assembler.ts";

const importName = "shared";

export class Library {
  private readonly types = new Map<string, Func>();
  private readonly functions: WebAssembly.ModuleImports = {};

  /** @param id where workers have one too, of the functions as they instantiated them */
  constructor(readonly id?: number) {}

  /** Declares all of them in a module that defines nothing yet: by name, with their numbers there. */
  importInto(module: ModuleBuilder): Map<string, Func> {
    const declare = ([name, { params, result }]: [string, Func]): [string, Func] => [
      name,
      module.importFunction(importName, { name, params, result }),
    ];
    return new Map([...this.types].map(declare));
  }

  get imports(): WebAssembly.Imports {
    return { [importName]: this.functions };
  }

  /** From a module that has them itself. */
  add(types: ReadonlyMap<string, Func>, exports: WebAssembly.Exports): void {
    for (const [name, type] of types) {
      this.types.set(name, type);
      this.functions[name] = exports[name];
    }
  }
}
