/** A table of numbers with a header line. */
export interface Csv {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly number[])[];
}

/** Reads comma-separated numbers. Throws where there is no header, and where a line has the wrong length or holds something else. */
export function parseCsv(text: string): Csv {
  // Some programs put a byte order mark before it.
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const [header, ...rest] = lines.map((line, i) => ({ line, at: i + 1 })).filter(({ line }) => line.trim() !== "");
  if (!header) throw new Error("csv: there is no header line");
  const columns = header.line.split(",");
  const rows = rest.map(({ line, at }) => {
    const cells = line.split(",");
    const row = cells.map(Number);
    if (row.length !== columns.length || row.some(Number.isNaN) || cells.some((cell) => cell.trim() === ""))
      throw new Error(`csv: line ${at} does not hold ${columns.length} numbers`);
    return row;
  });
  return { columns, rows };
}
