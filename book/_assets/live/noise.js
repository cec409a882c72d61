// The library's noise, number for number: one seed is one picture here and in the chapters.
// `ddim_lib.sampling` draws x_T with torch.Generator().manual_seed(seed), and the noise of the
// steps with a second generator whose seed numpy's SeedSequence([seed, 1]) gives.

// MT19937 (Matsumoto and Nishimura 1998) from one 32-bit seed.
export class Mt19937 {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const last = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, last) + i;
    }
    this.next = 624;
  }

  // 32 random bits.
  draw() {
    if (this.next === 624) this.refill();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  refill() {
    const s = this.state;
    for (let i = 0; i < 624; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
      s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
}

// torch.randn on the CPU: `size` uniforms of 24 bits, then Box and Muller in blocks of 16, the
// radius from the first eight and the angle from the last eight.
export function randn(generator, size) {
  if (size < 16 || size % 16) {
    throw new RangeError(`size must be a positive multiple of 16, got ${size}`);
  }
  const out = new Float32Array(size);
  for (let i = 0; i < size; i++) out[i] = (generator.draw() & 0xffffff) / 2 ** 24;
  for (let block = 0; block < size; block += 16) {
    for (let j = block; j < block + 8; j++) {
      const radius = Math.sqrt(-2 * Math.log(1 - out[j]));
      const angle = 2 * Math.PI * out[j + 8];
      out[j] = radius * Math.cos(angle);
      out[j + 8] = radius * Math.sin(angle);
    }
  }
  return out;
}

// numpy's SeedSequence([seed, 1]).generate_state(1)[0] (O'Neill's seed_seq, pool of four words).
export function stepSeed(seed) {
  let constant = 0x43b0d7e5;
  const hash = (value) => {
    value ^= constant;
    constant = Math.imul(constant, 0x931e8875);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
  const mix = (x, y) => {
    const value = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y);
    return value ^ (value >>> 16);
  };
  const pool = [seed, 1, 0, 0].map(hash);
  for (let from = 0; from < 4; from++) {
    for (let to = 0; to < 4; to++) {
      if (from !== to) pool[to] = mix(pool[to], hash(pool[from]));
    }
  }
  const first = 0x8b51f9dd;
  const value = Math.imul(pool[0] ^ first, Math.imul(first, 0x58f38ded));
  return (value ^ (value >>> 16)) >>> 0;
}

// x_T of several seeds, one image after the other.
export function startPoints(seeds, size) {
  return join(seeds.map((seed) => randn(new Mt19937(seed), size)));
}

// A source of z: each call draws the next one of every image.
export function stepNoise(seeds, size) {
  const generators = seeds.map((seed) => new Mt19937(stepSeed(seed)));
  return () => join(generators.map((generator) => randn(generator, size)));
}

// The one source of `fill_in` in chapter 9: noise of all images at once.
export function fillNoise(first, size) {
  const generator = new Mt19937(10 ** 6 + first);
  return () => randn(generator, size);
}

// Spherical interpolation from a (weight 0) to b (weight 1).
export function slerp(a, b, weight) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  // Parallel: the formula is 0/0 and the line does instead.
  const near = !(sine >= 1e-6);
  const forA = near ? 1 - weight : Math.sin((1 - weight) * angle) / sine;
  const forB = near ? weight : Math.sin(weight * angle) / sine;
  return a.map((value, i) => forA * value + forB * b[i]);
}

// The straight line from a (weight 0) to b (weight 1).
export function lerp(a, b, weight) {
  return a.map((value, i) => (1 - weight) * value + weight * b[i]);
}

const WAYS = { slerp, lerp };

// n start points on the way from one seed to another, both ends included.
export function walkPoints(from, to, n, size, way = "slerp") {
  const a = randn(new Mt19937(from), size);
  const b = randn(new Mt19937(to), size);
  const weights = Array.from({ length: n }, (_, i) => (n > 1 ? i / (n - 1) : 0));
  return join(weights.map((weight) => WAYS[way](a, b, weight)));
}

function join(images) {
  const all = new Float32Array(images.length * images[0].length);
  images.forEach((image, i) => all.set(image, i * image.length));
  return all;
}
