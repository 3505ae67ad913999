// How sure one may be of a difference between groups of runs, and what it says of a claim, as
// `embedding_collapse.lab.contrast` and `embedding_collapse.book.analysis.ledger` have it.

import { meanOf, varianceOf } from "./metrics.js";

const LEVEL = 0.95;

/**
 * The runs of a cell and how they count.
 * @typedef {{ weight: number, values: number[], placements?: import("./metrics.js").Placements[] }}
 *   Group
 * @typedef {{ value: number, low: number, high: number, p: number }} Effect
 */

/**
 * The weighted sum of the cells' means, with its 95% interval and the p-value of there being none.
 * @param {Group[]} groups
 * @returns {Effect}
 */
export function contrast(groups) {
  const value = groups.reduce((sum, { weight, values }) => sum + weight * meanOf(values), 0);
  const unsure = { value, low: -Infinity, high: Infinity, p: 1 };
  if (groups.some(({ values }) => values.length < 2)) return unsure;
  const parts = groups.map(({ weight, values }) => [
    (weight ** 2 * varianceOf(values)) / values.length,
    values.length - 1,
  ]);
  const tested = groups.filter(({ placements }) => placements);
  if (tested.length) parts.push(ofRows(tested));
  const variance = parts.reduce((sum, [part]) => sum + part, 0);
  if (variance === 0) return unsure; // all values of each cell are equal: the noise is not known
  const freedom = variance ** 2 / parts.reduce((sum, [part, df]) => sum + part ** 2 / df, 0);
  const error = Math.sqrt(variance);
  const reach = quantile(1 - LEVEL, freedom) * error;
  return { value, low: value - reach, high: value + reach, p: tails(Math.abs(value) / error, freedom) }; // prettier-ignore
}

/**
 * What the choice of test rows adds beside the spread between seeds, and its degrees of freedom.
 * @param {Group[]} groups
 */
function ofRows(groups) {
  const kinds = /** @type {const} */ (["positive", "negative"]);
  let [variance, least] = [0, Infinity];
  for (const kind of kinds) {
    const runs = groups.map(({ placements = [] }) => placements.map((one) => one[kind]));
    const means = runs.map((all) => all[0].map((_, i) => meanOf(all.map((one) => one[i]))));
    const sum = means[0].map((_, i) => groups.reduce((s, { weight }, g) => s + weight * means[g][i], 0)); // prettier-ignore
    variance += varianceOf(sum) / sum.length;
    least = Math.min(least, sum.length);
    groups.forEach(({ weight }, g) => {
      const count = runs[g].length;
      const apart = runs[g].map((one) => {
        const rest = one.map((place, i) => place - means[g][i]);
        return varianceOf(rest) / rest.length;
      });
      variance -= (weight ** 2 * meanOf(apart)) / (1 - 1 / count) / count;
    });
  }
  return [Math.max(variance, 0), least - 1];
}

/**
 * The chance that Student's t is further from zero than `t`, to either side.
 * @param {number} t
 * @param {number} freedom
 */
function tails(t, freedom) {
  return incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
}

/**
 * The t whose two tails have that chance.
 * @param {number} chance
 * @param {number} freedom
 */
function quantile(chance, freedom) {
  let [low, high] = [0, 1];
  while (tails(high, freedom) > chance) high *= 2;
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (tails(middle, freedom) > chance) low = middle;
    else high = middle;
  }
  return high;
}

/**
 * The regularised incomplete beta function, by its continued fraction (Lentz's method).
 * @param {number} x
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function incompleteBeta(x, a, b) {
  if (x <= 0 || x >= 1) return Number(x >= 1);
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = a * Math.log(x) + b * Math.log1p(-x) + logGamma(a + b) - logGamma(a) - logGamma(b);
  let [c, d, fraction] = [1, 0, 1];
  for (let i = 0; i < 500; i++) {
    const m = Math.floor(i / 2);
    let term = 1;
    if (i > 0) {
      const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
      const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
      term = i % 2 ? odd : even;
    }
    d = 1 / (1 + term * d);
    c = 1 + term / c;
    fraction *= c * d;
    if (i > 0 && Math.abs(1 - c * d) < 1e-15) break;
  }
  return (Math.exp(front) * (fraction - 1)) / a;
}

/**
 * By Stirling's series, once x has been raised to where it is exact to 1e-15.
 * @param {number} x above 0
 */
function logGamma(x) {
  let product = 1;
  for (; x < 15; x++) product *= x;
  const square = 1 / (x * x);
  const series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))) / x;
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series - Math.log(product);
}

/**
 * p-values corrected for being several (Holm 1979).
 * @param {number[]} p
 */
export function holm(p) {
  const order = p.map((_, i) => i).sort((a, b) => p[a] - p[b]);
  const corrected = p.slice();
  let most = 0;
  order.forEach((at, rank) => {
    most = Math.max(most, (p.length - rank) * p[at]);
    corrected[at] = Math.min(1, most);
  });
  return corrected;
}

/**
 * What an effect says of a claim; a difference within the band to either side counts as none.
 * @param {Effect} effect
 * @param {"higher" | "lower"} expected
 * @param {number} band
 * @param {number} p corrected
 * @returns {"holds" | "fails" | "undecided"}
 */
export function verdictOf({ value, low, high }, expected, band, p) {
  const side = p > 1 - LEVEL ? 0 : Math.sign(value);
  const wanted = expected === "higher" ? 1 : -1;
  if (side === wanted) return "holds";
  return side === -wanted || (-band < low && high < band) ? "fails" : "undecided";
}
