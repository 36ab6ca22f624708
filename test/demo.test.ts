/** Parts of the demo that no page of it reaches. */
import { expect, test } from "vitest";
import { parseCsv } from "../examples/demo/csv.ts";

test("a CSV file is numbers below a header, or an error", () => {
  expect(parseCsv("\uFEFFa,b\r\n1,2\r\n\r\n-3, 4e2\n")).toEqual({
    columns: ["a", "b"],
    rows: [
      [1, 2],
      [-3, 400],
    ],
  });
  for (const text of ["", "\n", "\uFEFF"]) expect(() => parseCsv(text)).toThrow("csv: there is no header line");
  for (const line of ["1,", ",", " ,2", "1", "1,2,3", "1,x"])
    expect(() => parseCsv(`a,b\n\n${line}`), line).toThrow("csv: line 3 does not hold 2 numbers");
});
