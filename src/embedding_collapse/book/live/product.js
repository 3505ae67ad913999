// Two tables of normal numbers, the second narrowed, and the singular values of their product: what
// two fields make of each other in a factorisation machine.

import { Generator } from "./random.js";
import { eigen, gramOf } from "./spectrum.js";

const ROWS = 100; // of either table

/** @typedef {{ width: number, rank: number, rest: number, seed: number }} Setting */

/**
 * Singular values, descending: of E_1, of E_2 once all but `rank` of its directions are multiplied by
 * `rest` and as it was before, of E_1 E_2^T, and what bounds these.
 * @param {Setting} setting
 */
export function product({ width, rank, rest, seed }) {
  const generator = new Generator(seed);
  const grams = [0, 1].map(() => gramOf(generator.normals(ROWS * width), width));
  const { values, axes } = eigen(grams[1], width);
  const before = values.map(Math.sqrt);
  const two = before.map((value, k) => (k < rank ? value : rest * value));
  // E_1 E_2^T has the singular values of E_1 V S, whose Gram matrix is S V^T G_1 V S
  const inner = new Float64Array(width * width);
  for (let p = 0; p < width; p++)
    for (let q = 0; q < width; q++) {
      let sum = 0;
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) sum += axes[p][i] * grams[0][i * width + j] * axes[q][j];
      inner[p * width + q] = two[p] * sum * two[q];
    }
  const root = (/** @type {number} */ value) => Math.sqrt(Math.max(0, value));
  const both = eigen(inner, width).values.map(root);
  const one = eigen(grams[0], width).values.map(root);
  return { one, two, before, both, bound: two.map((value) => one[0] * value) };
}
