// The paper's toy experiment, as `embedding_collapse.lab.toy` has it: a factorisation machine on three
// fields of which the first is trained, by gradient descent on all pairs of the first two.
//
// The gradient is written out. A row of E_1 meets every row of E_2 once, so a step is one pass over
// D_1 x D_2 logits and needs no graph: a library that finds gradients by itself would weigh more than
// this whole figure, and would have to be kept up to date. Tables are float32, as in Python; sums within a row are not rounded in between.

import { Generator } from "./random.js";
import { eigen } from "./spectrum.js";

/** @typedef {{ third: number, width: number, seed: number, rate: number }} Setting */
/** @typedef {ReturnType<typeof begin>} Run */

const [FIRST, SECOND] = [100, 100]; // D_1, D_2
const PAIRS = FIRST * SECOND;

/**
 * All that one experiment is made of, before its first step.
 * @param {Setting} setting
 */
export function begin({ third, width, seed, rate }) {
  const generator = new Generator(seed);
  const one = generator.normals(FIRST * width);
  const two = generator.normals(SECOND * width);
  const labels = Uint8Array.from({ length: PAIRS }, () => generator.bits() % 2);
  const context = Uint16Array.from({ length: PAIRS }, () => Math.floor(generator.uniform() * third));
  const three = generator.normals(third * width); // last: the rest is alike for every D_3
  const constant = new Float32Array(SECOND * third); // e_2^T e_3
  for (let j = 0; j < SECOND; j++)
    for (let c = 0; c < third; c++)
      constant[j * third + c] = dot(two, j * width, three, c * width, width);
  const room = { slopes: new Float64Array(SECOND), sums: new Float64Array(third),
    products: new Float64Array(third), pull: new Float64Array(width) }; // prettier-ignore
  return { third, width, rate, one, two, three, labels, context, constant, room, step: 0 };
}

/**
 * @param {Float32Array} a
 * @param {number} i
 * @param {Float32Array} b
 * @param {number} j
 * @param {number} width
 */
function dot(a, i, b, j, width) {
  let sum = 0;
  for (let k = 0; k < width; k++) sum += a[i + k] * b[j + k];
  return sum;
}

/**
 * The slopes dl/dh of one row's pairs and their sums by the third field's feature, left in
 * `run.room`; returns the sum of the pairs' logistic losses.
 * @param {Run} run
 * @param {number} row
 */
function meet(run, row) {
  const { third, width, one, two, three, labels, context, constant } = run;
  const { slopes, sums, products } = run.room;
  const at = row * width;
  for (let c = 0; c < third; c++) products[c] = dot(one, at, three, c * width, width);
  sums.fill(0);
  let loss = 0;
  for (let j = 0; j < SECOND; j++) {
    const pair = row * SECOND + j;
    const c = context[pair];
    const logit = dot(one, at, two, j * width, width) + products[c] + constant[j * third + c];
    const small = Math.exp(-Math.abs(logit)); // neither overflows nor cancels
    const chance = (logit < 0 ? small : 1) / (1 + small);
    loss += Math.max(logit, 0) - logit * labels[pair] + Math.log1p(small);
    sums[c] += slopes[j] = chance - labels[pair];
  }
  return loss;
}

/**
 * Add `sum_i weights_i rows_i` to `pull`.
 * @param {Float64Array} pull
 * @param {Float64Array} weights
 * @param {Float32Array} rows
 */
function gather(pull, weights, rows) {
  const width = pull.length;
  for (let i = 0; i < weights.length; i++)
    for (let k = 0; k < width; k++) pull[k] += weights[i] * rows[i * width + k];
  return pull;
}

/**
 * One step of gradient descent on the mean loss; returns that loss before the step.
 * @param {Run} run
 */
export function step(run) {
  const { width, one, two, three, rate } = run;
  const { slopes, sums, pull } = run.room;
  let loss = 0;
  for (let row = 0; row < FIRST; row++) {
    loss += meet(run, row); // rows of E_1 don't meet, so the others may have moved
    gather(gather(pull.fill(0), slopes, two), sums, three);
    for (let k = 0; k < width; k++) one[row * width + k] -= (rate / PAIRS) * pull[k];
  }
  run.step++;
  return loss / PAIRS;
}

/**
 * The mean loss.
 * @param {Run} run
 */
export function lossOf(run) {
  let loss = 0;
  for (let row = 0; row < FIRST; row++) loss += meet(run, row);
  return loss / PAIRS;
}

/**
 * What each other field adds to a row's gradient: theta_2, in the span of E_2's rows, and theta_3,
 * in the span of E_3's.
 * @param {Run} run
 * @param {number} row
 */
export function thetas(run, row) {
  meet(run, row);
  const { slopes, sums } = run.room;
  const mean = (/** @type {number} */ value) => value / PAIRS;
  return [
    gather(new Float64Array(run.width), slopes, run.two).map(mean),
    gather(new Float64Array(run.width), sums, run.three).map(mean),
  ];
}

/**
 * The learning rate below which the loss is sure to fall at every step: 2 / L. The loss is convex in
 * E_1, and no curvature of a row's exceeds a quarter (the logistic loss's) of the largest eigenvalue
 * of `sum_b x_b x_b^T / (D_1 D_2)`, x_b = e_2 + e_3 over its pairs.
 * @param {Run} run
 */
export function safeRate({ third, width, two, three, context }) {
  let most = 0;
  for (let row = 0; row < FIRST; row++) {
    const gram = new Float64Array(width * width);
    const x = new Float64Array(width);
    for (let j = 0; j < SECOND; j++) {
      const c = context[row * SECOND + j];
      for (let k = 0; k < width; k++) x[k] = two[j * width + k] + three[c * width + k];
      for (let p = 0; p < width; p++)
        for (let q = 0; q < width; q++) gram[p * width + q] += x[p] * x[q];
    }
    most = Math.max(most, eigen(gram, width).values[0]);
  }
  return (2 * 4 * PAIRS) / most;
}
