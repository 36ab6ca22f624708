/** Numbers as text and back, as ONNX Cast reads and NumPy prints them. */

/** A decimal or scientific number, or an infinity or NaN in any case. Undefined if it is none. */
export function parseNumber(text: string): number | undefined {
  const s = text.trim().toLowerCase();
  const special = /^([+-]?)(inf|infinity|nan)$/.exec(s);
  if (special) return special[2] === "nan" ? Number.NaN : special[1] === "-" ? -Infinity : Infinity;
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(s) ? Number(s) : undefined;
}

/** A whole number of any size; the fraction of others is dropped. Undefined if it is no finite number. */
export function parseInteger(text: string): bigint | undefined {
  const s = text.trim();
  if (/^[+-]?\d+$/.test(s)) return BigInt(s.startsWith("+") ? s.slice(1) : s);
  const v = parseNumber(s);
  return v !== undefined && Number.isFinite(v) ? BigInt(Math.trunc(v)) : undefined;
}

/**
 * The shortest digits that `rounded` (to the element type) maps back to `v`: "0.1", "1.0", "1e-05", "inf". Scientific
 * below 1e-4 and from 1e16 on.
 */
export function formatNumber(v: number, rounded: (v: number) => number): string {
  if (Number.isNaN(v)) return "nan";
  if (!Number.isFinite(v)) return v > 0 ? "inf" : "-inf";
  if (v === 0) return Object.is(v, -0) ? "-0.0" : "0.0";
  let digits = 0;
  while (digits < 16 && rounded(Number(v.toExponential(digits))) !== v) digits++;
  const [mantissa, exponent] = v.toExponential(digits).split("e");
  const e = Number(exponent);
  if (Math.abs(v) < 1e-4 || Math.abs(v) >= 1e16)
    return `${mantissa}e${e < 0 ? "-" : "+"}${String(Math.abs(e)).padStart(2, "0")}`;
  const plain = v.toFixed(Math.max(digits - e, 0));
  if (digits >= e) return plain.includes(".") ? plain : `${plain}.0`;
  // Fewer digits than the integer part has: the rest are zeros.
  const sign = v < 0 ? "-" : "";
  return `${sign}${mantissa.replace(/[-.]/g, "").padEnd(e + 1, "0")}.0`;
}
