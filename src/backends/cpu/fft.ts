/**
 * Fast Fourier transforms of any length, in float64: a plan holds the tables and is used again and again.
 * - mixed radix (Stockham: the output comes in order without a bit-reversing pass) where the length's prime factors are
 *   small, with own butterflies for 4 and 2;
 * - Bluestein's chirp transform for other lengths: a convolution by transforms of a power of two.
 * O(n log n) for every n. Source: Van Loan, "Computational Frameworks for the Fast Fourier Transform", 1992.
 */

/** Replaces re + i im by its transform. The inverse is the transform with re and im swapped, divided by the length. */
export type Fft = (re: Float64Array, im: Float64Array) => void;

/** Larger prime factors make Bluestein's way the shorter one. */
const knownRadices = [4, 2, 3, 5, 7, 11, 13];

export function planFft(n: number): Fft {
  const radices = factors(n);
  return radices ? mixedRadix(n, radices) : bluestein(n);
}

function factors(n: number): number[] | undefined {
  const result: number[] = [];
  let rest = n;
  for (const r of knownRadices)
    while (rest % r === 0) {
      result.push(r);
      rest /= r;
    }
  return rest === 1 ? result : undefined;
}

interface Arrays {
  re: Float64Array;
  im: Float64Array;
}

const arrays = (n: number): Arrays => ({ re: new Float64Array(n), im: new Float64Array(n) });

/** exp(-2 pi i k / n). */
function roots(n: number): Arrays {
  const w = arrays(n);
  for (let k = 0; k < n; k++) {
    w.re[k] = Math.cos((2 * Math.PI * k) / n);
    w.im[k] = -Math.sin((2 * Math.PI * k) / n);
  }
  return w;
}

function mixedRadix(n: number, radices: readonly number[]): Fft {
  const w = roots(n);
  const spare = arrays(n);
  return (re, im) => {
    let x: Arrays = { re, im };
    let y = spare;
    // Each stage splits transforms of length m r into r of length m; `s` of them lie side by side.
    let s = 1;
    for (const r of radices) {
      if (r === 4) radix4(x, y, w, n / (s * r), s);
      else if (r === 2) radix2(x, y, w, n / (s * r), s);
      else radixAny(x, y, w, n / (s * r), s, r);
      [x, y] = [y, x];
      s *= r;
    }
    if (x.re !== re) {
      re.set(x.re);
      im.set(x.im);
    }
  };
}

function radix2({ re: xr, im: xi }: Arrays, { re: yr, im: yi }: Arrays, w: Arrays, m: number, s: number): void {
  for (let p = 0; p < m; p++) {
    const wr = w.re[p * s];
    const wi = w.im[p * s];
    for (let q = 0; q < s; q++) {
      const a = q + s * p;
      const b = a + s * m;
      const to = q + s * 2 * p;
      const dr = xr[a] - xr[b];
      const di = xi[a] - xi[b];
      yr[to] = xr[a] + xr[b];
      yi[to] = xi[a] + xi[b];
      yr[to + s] = dr * wr - di * wi;
      yi[to + s] = dr * wi + di * wr;
    }
  }
}

function radix4({ re: xr, im: xi }: Arrays, { re: yr, im: yi }: Arrays, w: Arrays, m: number, s: number): void {
  const sm = s * m;
  for (let p = 0; p < m; p++) {
    const [w1r, w1i] = [w.re[p * s], w.im[p * s]];
    const [w2r, w2i] = [w.re[2 * p * s], w.im[2 * p * s]];
    const [w3r, w3i] = [w.re[3 * p * s], w.im[3 * p * s]];
    for (let q = 0; q < s; q++) {
      const a = q + s * p;
      const b = a + sm;
      const c = b + sm;
      const d = c + sm;
      const to = q + s * 4 * p;
      const acr = xr[a] + xr[c];
      const aci = xi[a] + xi[c];
      const amr = xr[a] - xr[c];
      const ami = xi[a] - xi[c];
      const bdr = xr[b] + xr[d];
      const bdi = xi[b] + xi[d];
      // -i (b - d)
      const bmr = xi[b] - xi[d];
      const bmi = xr[d] - xr[b];
      yr[to] = acr + bdr;
      yi[to] = aci + bdi;
      const r1 = amr + bmr;
      const i1 = ami + bmi;
      yr[to + s] = r1 * w1r - i1 * w1i;
      yi[to + s] = r1 * w1i + i1 * w1r;
      const r2 = acr - bdr;
      const i2 = aci - bdi;
      yr[to + 2 * s] = r2 * w2r - i2 * w2i;
      yi[to + 2 * s] = r2 * w2i + i2 * w2r;
      const r3 = amr - bmr;
      const i3 = ami - bmi;
      yr[to + 3 * s] = r3 * w3r - i3 * w3i;
      yi[to + 3 * s] = r3 * w3i + i3 * w3r;
    }
  }
}

/** The butterfly by definition, r x r. */
function radixAny(x: Arrays, y: Arrays, w: Arrays, m: number, s: number, r: number): void {
  const n = m * s * r;
  const unit = n / r;
  for (let p = 0; p < m; p++)
    for (let j = 0; j < r; j++) {
      const wr = w.re[p * j * s];
      const wi = w.im[p * j * s];
      for (let q = 0; q < s; q++) {
        let sr = 0;
        let si = 0;
        for (let k = 0, turn = 0; k < r; k++, turn = (turn + j) % r) {
          const at = q + s * (p + k * m);
          const cr = w.re[turn * unit];
          const ci = w.im[turn * unit];
          sr += x.re[at] * cr - x.im[at] * ci;
          si += x.re[at] * ci + x.im[at] * cr;
        }
        const to = q + s * (r * p + j);
        y.re[to] = sr * wr - si * wi;
        y.im[to] = sr * wi + si * wr;
      }
    }
}

function bluestein(n: number): Fft {
  const m = 2 ** Math.ceil(Math.log2(2 * n - 1));
  const fft = planFft(m);
  // exp(-pi i k^2 / n); the square is reduced first, so that large angles keep their digits.
  const chirp = arrays(n);
  const filter = arrays(m);
  for (let k = 0; k < n; k++) {
    const angle = (Math.PI * ((k * k) % (2 * n))) / n;
    chirp.re[k] = Math.cos(angle);
    chirp.im[k] = -Math.sin(angle);
    for (const at of [k, (m - k) % m]) {
      filter.re[at] = chirp.re[k];
      filter.im[at] = -chirp.im[k];
    }
  }
  fft(filter.re, filter.im);
  const a = arrays(m);
  return (re, im) => {
    a.re.fill(0);
    a.im.fill(0);
    for (let k = 0; k < n; k++) {
      a.re[k] = re[k] * chirp.re[k] - im[k] * chirp.im[k];
      a.im[k] = re[k] * chirp.im[k] + im[k] * chirp.re[k];
    }
    fft(a.re, a.im);
    for (let k = 0; k < m; k++) {
      const r = a.re[k] * filter.re[k] - a.im[k] * filter.im[k];
      a.im[k] = a.re[k] * filter.im[k] + a.im[k] * filter.re[k];
      a.re[k] = r;
    }
    fft(a.im, a.re);
    for (let k = 0; k < n; k++) {
      const r = a.re[k] / m;
      const i = a.im[k] / m;
      re[k] = r * chirp.re[k] - i * chirp.im[k];
      im[k] = r * chirp.im[k] + i * chirp.re[k];
    }
  };
}
