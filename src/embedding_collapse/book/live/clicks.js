// Clicks made from a seed: six fields of skewed ids, labels from pairwise interactions. The same rows
// as `embedding_collapse.book.explorers.sets.clicks` draws, up to labels that rounding decides.

import { Generator } from "./random.js";

export const SIZES = [3, 10, 30, 100, 100, 300]; // features per field
export const FIELDS = SIZES.length;
const LATENT = 6; // numbers per feature in each of its pairs
const [SPREAD, MIDDLE] = [2.5, -0.8]; // of the logits

/** @typedef {ReturnType<typeof drawClicks>} Clicks */

/**
 * Rows of ids, counted from 0 through all fields, and labels.
 * @param {number} seed
 * @param {number} rows
 */
export function drawClicks(seed, rows) {
  const generator = new Generator(seed);
  const ids = Uint16Array.from({ length: rows * FIELDS }, (_, at) => {
    return generator.uniform() ** 2 * SIZES[at % FIELDS];
  });
  const logits = new Float64Array(rows);
  for (let i = 0; i < FIELDS; i++)
    for (let j = i + 1; j < FIELDS; j++) {
      const one = generator.normals(SIZES[i] * LATENT);
      const other = generator.normals(SIZES[j] * LATENT);
      for (let row = 0; row < rows; row++) {
        const [a, b] = [ids[row * FIELDS + i] * LATENT, ids[row * FIELDS + j] * LATENT];
        for (let k = 0; k < LATENT; k++) logits[row] += one[a + k] * other[b + k];
      }
    }
  const mean = logits.reduce((sum, logit) => sum + logit, 0) / rows;
  const variance = logits.reduce((sum, logit) => sum + (logit - mean) ** 2, 0) / (rows - 1);
  const scale = SPREAD / Math.sqrt(variance);
  const labels = Uint8Array.from(logits, (logit) => {
    return Number(generator.uniform() < 1 / (1 + Math.exp(-(logit * scale + MIDDLE))));
  });
  let start = 0;
  for (let i = 0; i < FIELDS; start += SIZES[i++])
    for (let row = 0; row < rows; row++) ids[row * FIELDS + i] += start;
  return { ids, labels };
}
