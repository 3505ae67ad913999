import assert from "node:assert/strict";
import { test } from "node:test";

import { Generator } from "../../src/embedding_collapse/book/live/random.js";
import { abundance, eigen, spectrum } from "../../src/embedding_collapse/book/live/spectrum.js";

test("a symmetric matrix is its axes times its eigenvalues", () => {
  const size = 10;
  const drawn = new Generator(0).normals(size * size);
  const matrix = Float64Array.from(drawn, (value, at) => {
    const [row, column] = [Math.floor(at / size), at % size];
    return value + drawn[column * size + row];
  });
  const { values, axes } = eigen(matrix.slice(), size);
  const largest = Math.max(...values.map(Math.abs));
  matrix.forEach((value, at) => {
    const [row, column] = [Math.floor(at / size), at % size];
    const made = axes.reduce((sum, axis, k) => sum + values[k] * axis[row] * axis[column], 0);
    assert.ok(Math.abs(made - value) < size * size * Number.EPSILON * largest);
  });
  assert.deepEqual([...values], [...values].sort((a, b) => b - a));
});

test("singular values come in falling order, and none is lost in a table of zeros", () => {
  const { singular, axes } = spectrum(Float32Array.of(0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0), 3);
  assert.deepEqual([...singular], [3, 2, 0]);
  assert.deepEqual(axes.map((axis) => [...axis]), [[1, 0, 0], [0, 1, 0], [0, 0, 1]]); // prettier-ignore
  assert.equal(abundance(singular), 5 / 3);
  assert.equal(abundance(spectrum(new Float32Array(12), 3).singular), 0);
});
