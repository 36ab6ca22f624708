/** A table of numbers with a header line. */
export interface Csv {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly number[])[];
}

/** Reads comma-separated numbers. Throws where a line has the wrong length or holds something else. */
export function parseCsv(text: string): Csv {
  const [header, ...lines] = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const columns = header.split(",");
  const rows = lines.map((line, i) => {
    const row = line.split(",").map(Number);
    if (row.length !== columns.length || row.some(Number.isNaN))
      throw new Error(`csv: line ${i + 2} does not hold ${columns.length} numbers`);
    return row;
  });
  return { columns, rows };
}
