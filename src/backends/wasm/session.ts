/** What one session holds: its linear memory, with weights, states and the programs that run over them. */
import { bytesOf, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DisposedError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { Weight } from "../../tensor/weight.ts";
import {
  Copies,
  type DeviceSession,
  isReversible,
  type Place,
  type Prepack,
  type Program,
  type StagePlan,
  unpack,
} from "../backend.ts";
import { arrayLike, copyTo } from "./copy.ts";
import { dispatchBytes } from "./dispatch-words.ts";
import { Library } from "./library.ts";
import { alignUp, type Block, LinearMemory, stateEntryBytes } from "./memory.ts";
import type { WorkerPool } from "./pool.ts";
import { WasmProgram, workOf, worksOf } from "./program.ts";
import type { WasmState } from "./state.ts";
import { type AnyStep, leastWork, type WasmTarget } from "./step.ts";

/** Bytes that an arena gets beyond what it needs, at most. */
const mostRoom = 1 << 24;

/** Sessions that nobody disposed: workers let go of their programs, and with them of their memory. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<{ pool: WorkerPool; posted: ReadonlySet<number> }>(
  ({ pool, posted }) => {
    for (const id of posted) pool.remove(id);
    pool.release();
  },
);

export class WasmSession implements DeviceSession<AnyStep> {
  readonly memory: LinearMemory;
  private arena = { at: 0, bytes: 0 };
  private readonly programs = new Set<WasmProgram>();
  /** Weights, packed or as they are. */
  private readonly constants = new Copies<Block>();
  /** Addresses of constant bytes that kernels look up, by name. */
  private readonly tables = new Map<string, number>();

  /** Address of the words by which threads share steps. */
  readonly dispatch: number;
  /** Modules that were linked. */
  linked = 0;
  /** The active states, and where programs find them: see state.ts. */
  active: readonly WasmState[] = [];
  readonly severalStates = true;
  private table = { at: 0, bytes: 0 };
  /** Of one sequence in the table. */
  stateBytes = 0;
  private disposed = false;
  private spare: TypedArray | undefined;
  /** Numbers of the programs and libraries that workers know. */
  readonly posted = new Set<number>();
  /** By the threads that modules are linked for. */
  private readonly libraries = new Map<number, Library>();

  constructor(
    readonly target: WasmTarget,
    readonly pool: WorkerPool | undefined,
    /** Of one more sequence: see state.ts. Missing: no operator has any. */
    private readonly newState?: typeof import("./state.ts").openState,
  ) {
    this.memory = new LinearMemory(pool !== undefined);
    this.dispatch = this.memory.allocate(dispatchBytes);
    if (!pool) return;
    pool.acquire();
    forgotten.register(this, { pool, posted: this.posted }, this);
  }

  prepare(plan: StagePlan<AnyStep>): Program {
    this.growArena(plan.arenaBytes);
    const parallel = this.pool !== undefined && dividedWork(plan, this.target) >= this.target.parallelWork;
    const program = new WasmProgram(plan, this, parallel ? this.pool : undefined);
    this.programs.add(program);
    program.onDispose = () => this.programs.delete(program);
    return program;
  }

  /** Makes room for all that the plan takes beyond what is here. */
  expect({ steps, arenaBytes }: StagePlan<AnyStep>): void {
    const found = new Copies<true>();
    let bytes = Math.max(0, arenaBytes - this.arena.bytes);
    for (const { inputs } of steps)
      for (const place of inputs) {
        if (!place?.constant) continue;
        const { constant, prepack } = place;
        const key = prepack?.key ?? "";
        const elements = constant instanceof Weight ? constant.elements : constant.data;
        if (found.has(elements, key) || this.constants.has(elements, key)) continue;
        found.get(elements, key, () => true);
        bytes += alignUp(typeBytes(prepack?.type ?? constant));
      }
    if (bytes > 0) this.memory.expect(bytes);
  }

  keep(place: Place): void {
    this.constantAddress(place, new Copies());
  }

  readInto({ constant, prepack }: Place): Promise<void> | undefined {
    const weight = constant as Weight;
    const { elements } = weight;
    const key = prepack?.key ?? "";
    if (this.constants.has(elements, key)) return Promise.resolve();
    const { parts } = elements;
    // Elements of 16 bits go in parts only where kernels read them as they are.
    if (!parts || (weight.stored && !prepack?.stored)) return undefined;
    const type = prepack?.type ?? weight;
    // What has to be packed at once is one part.
    const all = { source: Math.max(1, sizeOf(weight.shape)), packed: sizeOf(type.shape) };
    const granule = prepack ? (prepack.granule ?? all) : { source: 1, packed: 1 };
    const block = this.allocate(type);
    const fill = async (): Promise<void> => {
      let read = 0;
      for await (const part of parts(granule.source)) {
        const [from, to] = [read, (read += part.length)].map((n) => Math.ceil(n / granule.source) * granule.packed);
        // A new view each time: memory that grows takes views away.
        const target = this.view(type, block).subarray(from, to);
        if (prepack) prepack.pack(part, target);
        else target.set(part as never);
      }
      this.constants.get(elements, key, () => block);
      this.handOver(weight, prepack, block);
    };
    return fill().catch((e) => {
      this.memory.release(block.at, block.bytes);
      throw e;
    });
  }

  libraryFor(threads: number): Library {
    let library = this.libraries.get(threads);
    if (!library) {
      library = new Library(threads > 1 ? this.pool!.newLibrary() : undefined);
      this.libraries.set(threads, library);
      if (library.id !== undefined) this.posted.add(library.id);
    }
    return library;
  }

  openState(types: readonly TensorType[]): WasmState | undefined {
    this.stateBytes = stateEntryBytes * types.length;
    return this.newState?.(this, types);
  }

  /** When it moves, programs link anew. */
  stateTable(sequences: number): number {
    const bytes = stateEntryBytes + this.stateBytes * sequences;
    if (bytes > this.table.bytes) {
      const { at, bytes: before } = this.table;
      this.table = { at: this.memory.allocate(bytes), bytes };
      this.memory.release(at, before);
      for (const p of this.programs) p.unlink();
    }
    return this.table.at;
  }

  get arenaAddress(): number {
    return this.arena.at;
  }

  get bytes(): number {
    return this.memory.bytes;
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const { id } of this.libraries.values()) if (id !== undefined) this.pool!.remove(id);
    this.libraries.clear();
    for (const p of this.programs) p.dispose();
    this.constants.clear();
    forgotten.unregister(this);
    this.pool?.release();
    this.memory.dispose();
  }

  /**
   * Where a constant lies, packed or as it is. Copied in the first time: for the session where it is a weight, whose
   * original may go then; for the program (`own`) where planning found it.
   */
  constantAddress({ constant, prepack }: Place, own: Copies<Block>): number {
    const key = prepack?.key ?? "";
    if (!(constant instanceof Weight))
      return own.get(constant!.data as TypedArray, key, () => this.copyIn(constant!, prepack)).at;
    const { elements } = constant;
    return this.constants.get(elements, key, () => {
      const block = this.copyIn(constant, prepack);
      this.handOver(constant, prepack, block);
      return block;
    }).at;
  }

  /** Lets the host go without a weight where `block` tells its elements, and no other copy does already. */
  private handOver(weight: Weight, prepack: Prepack | undefined, block: Block): void {
    const { elements } = weight;
    const size = sizeOf(weight.shape);
    // Not the view itself: memory that grows takes views away.
    if (!prepack) weight.handOver(() => this.view(weight, block).slice());
    else if (isReversible(prepack) && !this.constants.has(elements, ""))
      (prepack.stored ? elements : weight).handOver(() => unpack(prepack, this.view(prepack.type, block), size));
    else elements.release();
  }

  private view({ dtype, shape }: TensorType, block: Block): TypedArray {
    if (this.disposed) throw new DisposedError("this session was disposed, and its weights with it");
    return viewOf(dtype, this.memory.memory.buffer, block.at, sizeOf(shape));
  }

  get starting(): boolean {
    return this.pool?.pending ?? false;
  }

  recycle(data: TypedArray): void {
    this.spare = data;
  }

  /** A copy of an output, in the array that was given back where it is of that kind. */
  copyOut(output: TypedArray): TypedArray {
    let copy = this.spare;
    if (copy?.constructor === output.constructor && copy.length === output.length) this.spare = undefined;
    else copy = arrayLike(output);
    copyTo(output, copy);
    return copy;
  }

  /** Where constant bytes of kernels are. */
  tableAddress(name: string, make: () => Uint8Array): number {
    let at = this.tables.get(name);
    if (at === undefined) {
      const bytes = make();
      this.tables.set(name, (at = this.memory.allocate(bytes.length)));
      new Uint8Array(this.memory.memory.buffer).set(bytes, at);
    }
    return at;
  }

  private copyIn(constant: HostTensor, prepack: Prepack | undefined): Block {
    const type = prepack?.type ?? constant;
    const block = this.allocate(type);
    const target = this.view(type, block);
    const source = prepack?.stored ? (constant as Weight).elements.data : (constant.data as TypedArray);
    if (prepack) prepack.pack(source, target);
    else target.set(source as never);
    return block;
  }

  private allocate(type: TensorType): Block {
    const bytes = typeBytes(type);
    return { at: this.memory.allocate(bytes), bytes };
  }

  /**
   * All programs share one arena: they never run at the same time. When it moves they link anew, so the second time it gets
   * more room than it needs: inputs that grow a little from run to run move it seldom.
   */
  private growArena(needed: number): void {
    const { at, bytes: before } = this.arena;
    if (needed <= before) return;
    const bytes = before > 0 ? Math.max(needed, before + alignUp(Math.min(before / 2, mostRoom))) : needed;
    for (const p of this.programs) p.unlink();
    this.memory.release(at, before);
    try {
      this.arena = { at: this.memory.allocate(bytes), bytes };
    } catch (e) {
      // The programs that there are go on: of this size there is room.
      this.arena = { at: this.memory.allocate(before), bytes: before };
      throw e;
    }
  }
}

const typeBytes = ({ dtype, shape }: TensorType): number => Math.max(1, sizeOf(shape)) * bytesOf(dtype);

/** The work of the steps that are large enough to be divided. */
function dividedWork(plan: StagePlan<AnyStep>, target: WasmTarget): number {
  const works = worksOf(plan);
  return plan.steps.reduce((sum, s, i) => (works[i] < leastWork(target) ? sum : sum + workOf(s)), 0);
}
