// DNN and DCNv2 of `embedding_collapse.lab.models`, without dropout: embedding sets, one interaction
// each, their mean, a head. A seed has the same initial weights as `models.build`.
//
// The gradients are written out, for the layers are few. TensorFlow.js 4.22 would find them, but its
// WebAssembly backend has none for a look-up; by products with one-hot rows it takes seven times as
// long (benchmarks/README.md), and with its core it weighs 260 kB compressed, this whole figure 34.
// Weights are float32, as in PyTorch; sums are not rounded in between.

import { FIELDS, SIZES } from "./clicks.js";
import { Generator } from "./random.js";

/** @typedef {"dnn" | "dcnv2"} Name */
/** @typedef {{ sets: number, width: number, hidden: number }} Size */
/** @typedef {ReturnType<typeof build>} Model */
/** @typedef {ReturnType<typeof partsOf>} Parts */
/** @typedef {ReturnType<typeof makeNorm>} Norm */

export const MOST = 256; // rows at a time
const [EPS, MOMENTUM] = [1e-5, 0.1]; // of batch norm

/**
 * A freshly initialised model.
 * @param {Name} name
 * @param {Size} size
 * @param {number} seed
 */
export function build(name, size, seed) {
  const { sets, width, hidden } = size;
  const features = SIZES.reduce((sum, count) => sum + count);
  const inputs = FIELDS * width;
  const cross = name === "dcnv2" ? sets * inputs * inputs : 0;
  const lengths = {
    ...{ table: features * sets * width, cross, crossBias: cross / inputs },
    ...{ weight: sets * hidden * inputs, bias: sets * hidden, gain: sets * hidden },
    ...{ shift: sets * hidden, headWeight: hidden * hidden, headBias: hidden, headGain: hidden },
    ...{ headShift: hidden, output: hidden, outputBias: 1 },
  };
  const weights = partsOf(lengths);
  const generator = new Generator(seed);
  const draw = (/** @type {keyof typeof lengths} */ part, /** @type {number} */ bound) =>
    weights[part].set(generator.around(lengths[part], bound));
  draw("cross", Math.sqrt(6 / (inputs + inputs)));
  for (const part of /** @type {const} */ (["weight", "bias"])) draw(part, 1 / Math.sqrt(inputs));
  for (const part of /** @type {const} */ (["headWeight", "headBias", "output", "outputBias"]))
    draw(part, 1 / Math.sqrt(hidden));
  draw("table", Math.sqrt(6 / (features + width)));
  weights.gain.fill(1);
  weights.headGain.fill(1);
  const room = (/** @type {number} */ columns, /** @type {number} */ copies = 1) =>
    Array.from({ length: copies }, () => new Float32Array(MOST * columns));
  return {
    ...{ ...size, inputs, features, crosses: cross > 0, weights, gradients: partsOf(lengths) },
    norms: Array.from({ length: sets }, () => makeNorm(hidden)),
    headNorm: makeNorm(hidden),
    embeddings: room(inputs, sets),
    factors: room(inputs, sets), // W x + b of the cross layer
    crossed: room(inputs, sets),
    outputs: room(hidden, sets), // of each set
    mean: room(hidden)[0],
    top: room(hidden)[0],
    logits: new Float32Array(MOST),
    ...{ one: room(Math.max(inputs, hidden))[0], two: room(Math.max(inputs, hidden))[0] },
    ...{ upper: room(hidden)[0], lower: room(Math.max(inputs, hidden))[0] },
    flat: new Float32Array(Math.max(inputs, hidden) ** 2), // a matrix transposed
  };
}

/**
 * Parts of one array, by name, and the array.
 * @template {string} Part
 * @param {Record<Part, number>} lengths
 */
function partsOf(lengths) {
  const sizes = /** @type {[Part, number][]} */ (Object.entries(lengths));
  const all = new Float32Array(sizes.reduce((sum, [, length]) => sum + length, 0));
  let start = 0;
  const parts = sizes.map(([name, length]) => [name, all.subarray(start, (start += length))]);
  return /** @type {Record<Part | "all", Float32Array>} */ ({ all, ...Object.fromEntries(parts) });
}

/** @param {number} features */
function makeNorm(features) {
  return {
    ...{ mean: new Float32Array(features), variance: new Float32Array(features).fill(1) },
    ...{ scales: new Float64Array(features), standard: new Float32Array(MOST * features) },
  };
}

/**
 * The part of set m.
 * @param {Float32Array} part
 * @param {number} m
 * @param {number} sets
 */
const ofSet = (part, m, sets) =>
  part.subarray((m * part.length) / sets, ((m + 1) * part.length) / sets);

/**
 * `product[r, c] = sum_k a[r, k] b[c, k]`, two rows and four columns at a time, whose sums stay in
 * registers.
 * @param {Float32Array} product
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} rows
 * @param {number} columns
 * @param {number} inner
 */
function multiply(product, a, b, rows, columns, inner) {
  const [evenRows, evenColumns] = [rows - (rows % 2), columns - (columns % 4)];
  for (let r = 0; r < evenRows; r += 2)
    for (let c = 0; c < evenColumns; c += 4) {
      let [s0, s1, s2, s3, t0, t1, t2, t3] = [0, 0, 0, 0, 0, 0, 0, 0];
      const [i, j, p] = [r * inner, (r + 1) * inner, c * inner];
      const [q, u, v] = [p + inner, p + 2 * inner, p + 3 * inner];
      for (let k = 0; k < inner; k++) {
        const x = a[i + k];
        const y = a[j + k];
        s0 += x * b[p + k];
        s1 += x * b[q + k];
        s2 += x * b[u + k];
        s3 += x * b[v + k];
        t0 += y * b[p + k];
        t1 += y * b[q + k];
        t2 += y * b[u + k];
        t3 += y * b[v + k];
      }
      const [above, below] = [r * columns + c, (r + 1) * columns + c];
      product[above] = s0;
      product[above + 1] = s1;
      product[above + 2] = s2;
      product[above + 3] = s3;
      product[below] = t0;
      product[below + 1] = t1;
      product[below + 2] = t2;
      product[below + 3] = t3;
    }
  for (let r = 0; r < rows; r++)
    for (let c = r < evenRows ? evenColumns : 0; c < columns; c++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a[r * inner + k] * b[c * inner + k];
      product[r * columns + c] = sum;
    }
}

/**
 * @param {Float32Array} to
 * @param {Float32Array} from
 * @param {number} rows
 * @param {number} columns
 */
function transpose(to, from, rows, columns) {
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c];
  return to;
}

/**
 * Linear layer, batch norm and ReLU: the library's projection.
 * @param {Float32Array} y rows x hidden, what comes out
 * @param {Float32Array} x rows x inputs
 * @param {Float32Array[]} layer weight, bias, gain, shift
 * @param {Norm} norm
 * @param {number} rows
 * @param {boolean} training
 */
function project(y, x, [weight, bias, gain, shift], norm, rows, training) {
  const hidden = bias.length;
  multiply(y, x, weight, rows, hidden, weight.length / hidden);
  for (let h = 0; h < hidden; h++) {
    let mean = norm.mean[h] - bias[h];
    let variance = norm.variance[h];
    if (training) {
      mean = variance = 0;
      for (let at = h; at < rows * hidden; at += hidden) mean += y[at];
      mean /= rows;
      for (let at = h; at < rows * hidden; at += hidden) variance += (y[at] - mean) ** 2;
      variance /= rows;
      norm.mean[h] += MOMENTUM * (mean + bias[h] - norm.mean[h]);
      norm.variance[h] += MOMENTUM * ((variance * rows) / (rows - 1) - norm.variance[h]);
    }
    const scale = (norm.scales[h] = 1 / Math.sqrt(variance + EPS));
    for (let at = h; at < rows * hidden; at += hidden) {
      const standard = (norm.standard[at] = (y[at] - mean) * scale); // of the bias nothing is left
      y[at] = Math.max(0, standard * gain[h] + shift[h]);
    }
  }
}

/**
 * From the slopes of what a projection put out, in `y`'s place, to those of its weights and, in
 * `slopes`, of its linear layer. The bias has none: batch norm takes it off again.
 * @param {Float32Array} slopes rows x hidden
 * @param {Float32Array} y what came out
 * @param {Float32Array[]} layer weight, bias, gain, shift
 * @param {Float32Array[]} gradient of the same
 * @param {Norm} norm
 * @param {number} rows
 */
function unproject(slopes, y, [, , gain], [, , gainGradient, shiftGradient], norm, rows) {
  const hidden = gain.length;
  for (let h = 0; h < hidden; h++) {
    let [sum, along] = [0, 0];
    for (let at = h; at < rows * hidden; at += hidden) {
      if (y[at] <= 0) slopes[at] = 0;
      sum += slopes[at];
      along += slopes[at] * norm.standard[at];
    }
    [gainGradient[h], shiftGradient[h]] = [along, sum];
    const scale = gain[h] * norm.scales[h];
    for (let at = h; at < rows * hidden; at += hidden)
      slopes[at] = scale * (slopes[at] - (sum + norm.standard[at] * along) / rows);
  }
}

/**
 * The layers of one set, or of the head for -1.
 * @param {Model} model
 * @param {Parts} parts
 * @param {number} m
 */
function layers({ sets }, parts, m) {
  if (m < 0) return [parts.headWeight, parts.headBias, parts.headGain, parts.headShift];
  return [parts.weight, parts.bias, parts.gain, parts.shift].map((part) => ofSet(part, m, sets));
}

/**
 * Logits of some rows, left in `model.logits`.
 * @param {Model} model
 * @param {Uint16Array} ids of all rows
 * @param {Uint32Array} rows which ones
 * @param {boolean} training whether batch norm goes by these rows, else by those seen before
 */
export function forward(model, ids, rows, training) {
  const { sets, width, hidden, inputs, weights, mean, top, logits } = model;
  const count = rows.length;
  mean.fill(0);
  for (let m = 0; m < sets; m++) {
    const [x, factors, crossed] = [model.embeddings[m], model.factors[m], model.crossed[m]];
    for (let row = 0, at = 0; row < count; row++)
      for (let i = 0; i < FIELDS; i++) {
        const from = (ids[rows[row] * FIELDS + i] * sets + m) * width;
        for (let k = 0; k < width; k++) x[at++] = weights.table[from + k];
      }
    if (model.crosses) {
      const bias = ofSet(weights.crossBias, m, sets);
      multiply(factors, x, ofSet(weights.cross, m, sets), count, inputs, inputs);
      for (let at = 0; at < count * inputs; at++) {
        factors[at] += bias[at % inputs];
        crossed[at] = x[at] + x[at] * factors[at];
      }
    }
    const y = model.outputs[m];
    const into = model.crosses ? crossed : x;
    project(y, into, layers(model, weights, m), model.norms[m], count, training);
    for (let at = 0; at < count * hidden; at++) mean[at] += y[at] / sets;
  }
  project(top, mean, layers(model, weights, -1), model.headNorm, count, training);
  for (let row = 0; row < count; row++) {
    let logit = weights.outputBias[0];
    for (let h = 0; h < hidden; h++) logit += top[row * hidden + h] * weights.output[h];
    logits[row] = logit;
  }
}

/**
 * Leave the gradients of the mean log-loss of some rows in `model.gradients`; returns that loss.
 * @param {Model} model
 * @param {import("./clicks.js").Clicks} clicks
 * @param {Uint32Array} rows at most `MOST`
 */
export function backward(model, { ids, labels }, rows) {
  forward(model, ids, rows, true);
  const { sets, width, hidden, inputs, weights, gradients, top, one, two, flat } = model;
  const { upper, lower } = model;
  const count = rows.length;
  gradients.all.fill(0);
  let loss = 0;
  for (let row = 0; row < count; row++) {
    const [logit, label] = [model.logits[row], labels[rows[row]]];
    const small = Math.exp(-Math.abs(logit)); // neither overflows nor cancels
    loss += Math.max(logit, 0) - logit * label + Math.log1p(small);
    const slope = ((logit < 0 ? small : 1) / (1 + small) - label) / count;
    gradients.outputBias[0] += slope;
    for (let h = 0; h < hidden; h++) {
      gradients.output[h] += slope * top[row * hidden + h];
      upper[row * hidden + h] = slope * weights.output[h];
    }
  }
  unproject(upper, top, layers(model, weights, -1), layers(model, gradients, -1), model.headNorm, count); // prettier-ignore
  slopesOfWeight(gradients.headWeight, upper, model.mean, count, hidden, hidden, one, two);
  const across = transpose(flat, weights.headWeight, hidden, hidden);
  multiply(lower, upper, across, count, hidden, hidden);
  for (let m = 0; m < sets; m++) {
    for (let at = 0; at < count * hidden; at++) upper[at] = lower[at] / sets;
    const [layer, gradient] = [layers(model, weights, m), layers(model, gradients, m)];
    unproject(upper, model.outputs[m], layer, gradient, model.norms[m], count);
    const x = model.embeddings[m];
    const into = model.crosses ? model.crossed[m] : x;
    slopesOfWeight(gradient[0], upper, into, count, hidden, inputs, one, two);
    const slopes = one;
    multiply(slopes, upper, transpose(flat, layer[0], hidden, inputs), count, inputs, hidden);
    if (model.crosses) uncross(model, m, slopes, count);
    for (let row = 0, at = 0; row < count; row++)
      for (let i = 0; i < FIELDS; i++) {
        const to = (ids[rows[row] * FIELDS + i] * sets + m) * width;
        for (let k = 0; k < width; k++) gradients.table[to + k] += slopes[at++];
      }
  }
  return loss / count;
}

/**
 * `gradient = slopes^T x`.
 * @param {Float32Array} gradient outputs x inputs
 * @param {Float32Array} slopes rows x outputs
 * @param {Float32Array} x rows x inputs
 * @param {number} rows
 * @param {number} outputs
 * @param {number} inputs
 * @param {Float32Array} one room
 * @param {Float32Array} two room
 */
function slopesOfWeight(gradient, slopes, x, rows, outputs, inputs, one, two) {
  transpose(one, slopes, rows, outputs);
  multiply(gradient, one, transpose(two, x, rows, inputs), outputs, inputs, rows);
}

/**
 * Back through the cross layer of set m, `x + x * (W x + b)`, in the slopes' place.
 * @param {Model} model
 * @param {number} m
 * @param {Float32Array} slopes of what came out; `model.one`
 * @param {number} count
 */
function uncross(model, m, slopes, count) {
  const { sets, inputs, weights, gradients, two, flat } = model;
  const [x, factors, products] = [model.embeddings[m], model.factors[m], model.crossed[m]];
  const bias = ofSet(gradients.crossBias, m, sets);
  for (let at = 0; at < count * inputs; at++) {
    products[at] = slopes[at] * x[at]; // the slopes of W x + b
    bias[at % inputs] += products[at];
    factors[at] = slopes[at] * (1 + factors[at]);
  }
  const gradient = ofSet(gradients.cross, m, sets);
  slopesOfWeight(gradient, products, x, count, inputs, inputs, slopes, two);
  const across = transpose(flat, ofSet(weights.cross, m, sets), inputs, inputs);
  multiply(slopes, products, across, count, inputs, inputs);
  for (let at = 0; at < count * inputs; at++) slopes[at] += factors[at];
}
