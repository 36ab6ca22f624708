import {
  type Expr,
  type Func,
  type FunctionBuilder,
  i8x16,
  i32,
  type Local,
  type ModuleBuilder,
  v128,
} from "../assembler.ts";

/** Columns of a packed panel of B, and of a tile of C: two vectors. */
export const PANEL_COLUMNS = 8;

/** Floats that a packed k x n matrix takes. */
export function packedLength(k: number, n: number): number {
  return Math.ceil(n / PANEL_COLUMNS) * PANEL_COLUMNS * k;
}

const rowBlock = 32;

/**
 * Packs a constant k x n matrix on the host; `transposed`: the source is n x k. Written out for whole panels: a third of
 * the time of a loop over their columns.
 */
export function packB(
  source: ArrayLike<number>,
  packed: Float32Array | Uint16Array,
  { k, n, transposed = false }: { k: number; n: number; transposed?: boolean },
): void {
  const rowStep = transposed ? 1 : n;
  const step = transposed ? k : 1;
  // Rows of a wide matrix lie far apart: their lines and pages are used by every panel before they leave the cache.
  const block = transposed ? k : rowBlock;
  for (let first = 0; first < k; first += block) {
    const last = Math.min(first + block, k);
    for (let column = 0; column < n; column += PANEL_COLUMNS) {
      const used = Math.min(PANEL_COLUMNS, n - column);
      for (let row = first; row < last; row++) {
        const from = row * rowStep + column * step;
        const to = column * k + row * PANEL_COLUMNS;
        if (used < PANEL_COLUMNS) {
          for (let j = 0; j < PANEL_COLUMNS; j++) packed[to + j] = j < used ? source[from + j * step] : 0;
          continue;
        }
        packed[to] = source[from];
        packed[to + 1] = source[from + step];
        packed[to + 2] = source[from + 2 * step];
        packed[to + 3] = source[from + 3 * step];
        packed[to + 4] = source[from + 4 * step];
        packed[to + 5] = source[from + 5 * step];
        packed[to + 6] = source[from + 6 * step];
        packed[to + 7] = source[from + 7 * step];
      }
    }
  }
}

/** `step`: bytes in the panel from one k to the next. */
const packPanelParams = { from: "i32", stride: "i32", rows: "i32", k: "i32", out: "i32", step: "i32" } as const;
export type PackPanelFunction = Func<typeof packPanelParams, undefined>;

/** Packs `rows` rows of k values into one panel, values of one k side by side: four rows in 4x4 blocks, then one by one. */
export function emitPackRows(m: ModuleBuilder, name: string): PackPanelFunction {
  return m.func({ name, params: packPanelParams }, (f, { from, stride, rows, k, out, step }) => {
    const kBytes = f.let(i32.shl(k, 2));
    const [at, to, end] = f.locals("i32", 3);
    f.while(i32.ge_s(rows, 4), () => {
      transposeRows(f, { from, stride, kBytes, out, step });
      f.increment(from, i32.shl(stride, 2));
      f.increment(out, 16);
      f.increment(rows, -4);
    });
    f.while(rows, () => {
      f.set(at, from);
      f.set(to, out);
      f.set(end, i32.add(from, kBytes));
      f.while(i32.lt_u(at, end), () => {
        f.i32.store(to, i32.load(at));
        f.increment(at, 4);
        f.increment(to, step);
      });
      f.increment(from, stride);
      f.increment(out, 4);
      f.increment(rows, -1);
    });
  });
}

type I32 = Local<"i32">;

/** Writes four rows of `kBytes` as columns of 16 bytes, `step` bytes apart. */
function transposeRows(
  f: FunctionBuilder,
  { from, stride, kBytes, out, step }: { from: I32; stride: I32; kBytes: I32; out: I32; step: I32 },
): void {
  const rows = [f.let(from)];
  for (let i = 1; i < 4; i++) rows.push(f.let(i32.add(rows[i - 1], stride)));
  const to = f.let(out);
  const advance = (bytes: number) => {
    for (const row of rows) f.increment(row, bytes);
  };
  const end = f.let(i32.add(from, kBytes));
  const vectorEnd = f.let(i32.add(from, i32.and(kBytes, -16)));
  f.while(i32.lt_u(rows[0], vectorEnd), () => {
    const columns = transpose4(
      f,
      rows.map((row) => v128.load(row)),
    );
    for (const column of columns) {
      f.v128.store(to, column);
      f.increment(to, step);
    }
    advance(16);
  });
  f.while(i32.lt_u(rows[0], end), () => {
    rows.forEach((row, i) => {
      f.i32.store(to, i32.load(row), 4 * i);
    });
    f.increment(to, step);
    advance(4);
  });
}

/** The columns of a 4x4 block of f32 whose rows are given. */
export function transpose4(f: FunctionBuilder, rows: Expr<"v128">[]): Expr<"v128">[] {
  const words = (...order: number[]) => order.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte));
  const [r0, r1, r2, r3] = rows.map((row) => f.let(row));
  const low = (x: Local<"v128">, y: Local<"v128">) => f.let(i8x16.shuffle(x, y, words(0, 4, 1, 5)));
  const high = (x: Local<"v128">, y: Local<"v128">) => f.let(i8x16.shuffle(x, y, words(2, 6, 3, 7)));
  const firsts = (x: Local<"v128">, y: Local<"v128">) => i8x16.shuffle(x, y, words(0, 1, 4, 5));
  const seconds = (x: Local<"v128">, y: Local<"v128">) => i8x16.shuffle(x, y, words(2, 3, 6, 7));
  const [low01, low23, high01, high23] = [low(r0, r1), low(r2, r3), high(r0, r1), high(r2, r3)];
  return [firsts(low01, low23), seconds(low01, low23), firsts(high01, high23), seconds(high01, high23)];
}

const packBParams = { b: "i32", ldb: "i32", k: "i32", n: "i32", out: "i32" } as const;
export type PackBFunction = Func<typeof packBParams, undefined>;

/** Packs B that is only known at run time; `transposed`: the rows in memory are columns of B (n rows of k values). */
export function emitPackB(
  m: ModuleBuilder,
  { name, transposed = false, export: exported }: { name: string; transposed?: boolean; export?: boolean },
): PackBFunction {
  const packPanel = transposed ? emitPackRows(m, `${name}/rows`) : emitPackColumns(m, `${name}/columns`);
  return m.func({ name, params: packBParams, export: exported }, (f, { b, ldb, k, n, out }) => {
    const used = f.local("i32");
    const bytes = f.let(i32.mul(k, 4 * PANEL_COLUMNS));
    f.while(i32.gt_s(n, 0), () => {
      f.set(used, n);
      f.if(
        i32.ge_s(n, PANEL_COLUMNS),
        () => f.set(used, PANEL_COLUMNS),
        () => f.memory.fill(out, 0, bytes),
      );
      f.call(packPanel, { from: b, stride: ldb, rows: used, k, out, step: 4 * PANEL_COLUMNS });
      f.increment(b, transposed ? i32.mul(ldb, PANEL_COLUMNS) : 4 * PANEL_COLUMNS);
      f.increment(out, bytes);
      f.increment(n, -PANEL_COLUMNS);
    });
  });
}

/** Copies up to 8 columns of a row-major matrix into one panel. */
export function emitPackColumns(m: ModuleBuilder, name: string): PackPanelFunction {
  return m.func({ name, params: packPanelParams }, (f, { from, stride, rows: columns, k, out, step }) => {
    const i = f.local("i32");
    const bytes = f.let(i32.shl(columns, 2));
    f.while(k, () => {
      f.if(
        i32.eq(columns, PANEL_COLUMNS),
        () => {
          f.v128.store(out, v128.load(from));
          f.v128.store(out, v128.load(from, 16), 16);
        },
        () => f.forRange(i, 0, bytes, 4, () => f.i32.store(i32.add(out, i), i32.load(i32.add(from, i)))),
      );
      f.increment(from, stride);
      f.increment(out, step);
      f.increment(k, -1);
    });
  });
}
