/**
 * MT19937 (Matsumoto and Nishimura 1998) with the seeding, doubles and normals of NumPy's RandomState, so that a seed
 * gives the numbers that it gives there (and in the ONNX reference implementation).
 */
const N = 624;
const M = 397;

export class MersenneTwister {
  private readonly state = new Uint32Array(N);
  private next = N;
  private spare: number | undefined;

  /** Without a seed: from Math.random. */
  constructor(seed = Math.floor(Math.random() * 2 ** 32)) {
    const s = this.state;
    s[0] = seed;
    for (let i = 1; i < N; i++) s[i] = Math.imul(1812433253, s[i - 1] ^ (s[i - 1] >>> 30)) + i;
  }

  private word(): number {
    if (this.next === N) this.twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  private twist(): void {
    const s = this.state;
    for (let i = 0; i < N; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % N] & 0x7fffffff);
      s[i] = s[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    const high = this.word() >>> 5;
    return (high * 2 ** 26 + (this.word() >>> 6)) / 2 ** 53;
  }

  /** Standard normal, by Marsaglia's polar method, two at a time. */
  normal(): number {
    if (this.spare !== undefined) {
      const v = this.spare;
      this.spare = undefined;
      return v;
    }
    for (;;) {
      const a = 2 * this.uniform() - 1;
      const b = 2 * this.uniform() - 1;
      const r = a * a + b * b;
      if (r >= 1 || r === 0) continue;
      const f = Math.sqrt((-2 * Math.log(r)) / r);
      this.spare = f * a;
      return f * b;
    }
  }
}
