// AUC, and where each row stands among those of the other class (DeLong et al. 1988), as
// `embedding_collapse.lab.metrics` has them.

const GROUPS = 500; // of rows of either class, in a summary

/** @typedef {{ positive: Float64Array, negative: Float64Array }} Placements */

/**
 * Per positive row the share of negative rows that score below it, ties by half; per negative row
 * the share of positive rows that score above it. AUC is the mean of either.
 * @param {Float32Array} scores finite
 * @param {Uint8Array} labels
 */
export function placements(scores, labels) {
  const order = Uint32Array.from(scores, (_, row) => row).sort((a, b) => scores[a] - scores[b]);
  const ones = labels.reduce((sum, label) => sum + label, 0);
  const places = new Float64Array(scores.length);
  const below = [0, 0]; // rows of each class that score less
  for (let from = 0, to = 0; from < order.length; from = to) {
    const tied = [0, 0];
    for (; to < order.length && scores[order[to]] === scores[order[from]]; to++)
      tied[labels[order[to]]]++;
    for (let at = from; at < to; at++)
      places[order[at]] = labels[order[at]]
        ? (below[0] + tied[0] / 2) / (order.length - ones)
        : 1 - (below[1] + tied[1] / 2) / ones;
    for (const label of [0, 1]) below[label] += tied[label];
  }
  const of = (/** @type {number} */ label) => places.filter((_, row) => labels[row] === label);
  return { positive: of(1), negative: of(0) };
}

/** @param {Placements} rows */
export const auc = ({ positive }) => meanOf(positive);

/**
 * The means of so many parts of either class.
 * @param {Placements} rows
 * @returns {Placements}
 */
export function grouped({ positive, negative }, groups = GROUPS) {
  const means = (/** @type {Float64Array} */ all) => {
    const parts = Math.min(groups, all.length);
    return Float64Array.from({ length: parts }, (_, i) => meanOf(part(all, i, parts)));
  };
  return { positive: means(positive), negative: means(negative) };
}

/**
 * One of so many parts of an array, the first ones larger by one where they can't be equal.
 * @template {Float64Array | Uint32Array} Numbers
 * @param {Numbers} all
 * @param {number} i
 * @param {number} parts
 */
export function part(all, i, parts) {
  const [size, larger] = [Math.floor(all.length / parts), all.length % parts];
  const start = (/** @type {number} */ at) => at * size + Math.min(at, larger);
  return /** @type {Numbers} */ (all.slice(start(i), start(i + 1)));
}

/** @param {ArrayLike<number>} values */
export function meanOf(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/**
 * With n - 1 below.
 * @param {ArrayLike<number>} values
 */
export function varianceOf(values) {
  const mean = meanOf(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] - mean) ** 2;
  return sum / (values.length - 1);
}
