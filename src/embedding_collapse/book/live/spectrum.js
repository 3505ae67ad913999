// Singular values of a table with few columns, and information abundance, as `spectrum.py` has them.

const SWEEPS = 30; // of Jacobi's rotations; ten columns take about seven

/**
 * Eigenvalues of a symmetric matrix, descending, and its eigenvectors one after another (Jacobi).
 * @param {Float64Array} matrix K x K; it is used up
 * @param {number} size K
 */
export function eigen(matrix, size) {
  const vectors = new Float64Array(size * size); // in rows
  for (let i = 0; i < size; i++) vectors[i * size + i] = 1;
  const scale = matrix.reduce((total, value) => total + value * value, 0);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let off = 0;
    for (let p = 0; p < size; p++)
      for (let q = p + 1; q < size; q++) {
        off += matrix[p * size + q] ** 2;
        rotate(matrix, vectors, size, p, q);
      }
    if (off <= 1e-30 * scale) break;
  }
  const order = Array.from({ length: size }, (_, i) => i);
  order.sort((a, b) => matrix[b * size + b] - matrix[a * size + a]);
  return {
    values: Float64Array.from(order, (i) => matrix[i * size + i]),
    axes: order.map((i) => vectors.slice(i * size, (i + 1) * size)),
  };
}

/**
 * Bring entry (p, q) to zero.
 * @param {Float64Array} a
 * @param {Float64Array} vectors
 * @param {number} size
 * @param {number} p
 * @param {number} q
 */
function rotate(a, vectors, size, p, q) {
  const apart = a[p * size + q];
  if (apart === 0) return;
  const ratio = (a[q * size + q] - a[p * size + p]) / (2 * apart);
  const tangent = (ratio < 0 ? -1 : 1) / (Math.abs(ratio) + Math.hypot(ratio, 1));
  const cosine = 1 / Math.hypot(tangent, 1);
  const sine = tangent * cosine;
  for (let k = 0; k < size; k++) {
    const [x, y] = [a[k * size + p], a[k * size + q]];
    a[k * size + p] = cosine * x - sine * y;
    a[k * size + q] = sine * x + cosine * y;
  }
  for (const rows of [a, vectors])
    for (let k = 0; k < size; k++) {
      const [x, y] = [rows[p * size + k], rows[q * size + k]];
      rows[p * size + k] = cosine * x - sine * y;
      rows[q * size + k] = sine * x + cosine * y;
    }
}

/**
 * `table^T table`, in float64.
 * @param {Float32Array} table D x K
 * @param {number} width K
 */
export function gramOf(table, width) {
  const gram = new Float64Array(width * width);
  for (let row = 0; row < table.length; row += width)
    for (let p = 0; p < width; p++)
      for (let q = 0; q < width; q++) gram[p * width + q] += table[row + p] * table[row + q];
  return gram;
}

/**
 * The spectrum of a table's columns and the directions that go with it.
 * @param {Float32Array} table D x K; where D is below K, zeros follow
 * @param {number} width K
 */
export function spectrum(table, width) {
  const { values, axes } = eigen(gramOf(table, width), width);
  return { singular: values.map((value) => Math.sqrt(Math.max(0, value))), axes };
}

/**
 * IA: the sum of the singular values over the largest; 0 for a table of zeros.
 * @param {Float64Array} singular descending
 */
export function abundance(singular) {
  return singular.reduce((total, value) => total + value, 0) / (singular[0] || 1);
}
