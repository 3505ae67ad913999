// PyTorch's random numbers on a CPU, so that a seed means here what it means to the library: the
// Mersenne Twister (MT19937; Matsumoto & Nishimura 1998) and Box and Muller's normal numbers, in
// the order in which PyTorch takes them. Normal numbers may differ in their last bits, since
// logarithms and cosines do.

const SIZE = 624;
const SHIFT = 397;
const BLOCK = 16; // PyTorch makes normal numbers in blocks of so many, and fewer one by one

export class Generator {
  /** @param {number} seed a whole number below 2^32 */
  constructor(seed) {
    this.state = new Uint32Array(SIZE);
    this.next = SIZE;
    this.state[0] = seed;
    for (let i = 1; i < SIZE; i++) {
      const before = this.state[i - 1];
      this.state[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
    }
  }

  /** 32 random bits. */
  bits() {
    if (this.next === SIZE) this.#twist();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #twist() {
    const { state } = this;
    for (let i = 0; i < SIZE; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % SIZE] & 0x7fffffff);
      state[i] = state[(i + SHIFT) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }

  /** Uniform on [0, 1), of 53 bits. */
  uniform() {
    const high = this.bits() & 0x1fffff;
    return (high * 2 ** 32 + this.bits()) * 2 ** -53;
  }

  /**
   * Float32 numbers, uniform from `-bound` to `bound`, as `Tensor.uniform_` draws them.
   * @param {number} count
   * @param {number} bound
   */
  around(count, bound) {
    const [low, across] = [Math.fround(-bound), Math.fround(2 * Math.fround(bound))];
    return Float32Array.from({ length: count }, () => (this.bits() & 0xffffff) * 2 ** -24 * across + low); // prettier-ignore
  }

  /**
   * The numbers below `count` in a random order, as `torch.randperm` has them.
   * @param {number} count
   */
  permutation(count) {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = 0; i < count - 1; i++) {
      const other = i + (this.bits() % (count - i));
      [order[i], order[other]] = [order[other], order[i]];
    }
    return order;
  }

  /**
   * Independent numbers from N(0, 1), as `torch.randn` draws them.
   * @param {number} count
   */
  normals(count) {
    const values = new Float32Array(count);
    if (count < BLOCK) {
      for (let i = 0; i < count; i += 2) {
        const angle = 2 * Math.PI * this.uniform();
        const radius = Math.sqrt(-2 * Math.log1p(-this.uniform()));
        values[i] = radius * Math.cos(angle);
        if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
      }
      return values;
    }
    const fill = (/** @type {number} */ from, /** @type {number} */ to) => {
      for (let i = from; i < to; i++) values[i] = (this.bits() & 0xffffff) * 2 ** -24;
    };
    fill(0, count);
    for (let i = 0; i + BLOCK <= count; i += BLOCK) toNormal(values, i);
    if (count % BLOCK) {
      fill(count - BLOCK, count);
      toNormal(values, count - BLOCK);
    }
    return values;
  }
}

/**
 * Turn a block of uniform numbers into normal ones.
 * @param {Float32Array} values
 * @param {number} start
 */
function toNormal(values, start) {
  const half = BLOCK / 2;
  for (let i = start; i < start + half; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - values[i]));
    const angle = 2 * Math.PI * values[i + half];
    values[i] = radius * Math.cos(angle);
    values[i + half] = radius * Math.sin(angle);
  }
}
