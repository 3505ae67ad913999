// What the tests in Python hold against the library: functions of the page's modules, and trainings.
import { drawClicks } from "../../src/embedding_collapse/book/live/clicks.js";
import { contrast, holm, verdictOf } from "../../src/embedding_collapse/book/live/contrast.js";
import { auc, grouped, placements } from "../../src/embedding_collapse/book/live/metrics.js";
import { adam } from "../../src/embedding_collapse/book/live/optimizer.js";
import { product } from "../../src/embedding_collapse/book/live/product.js";
import { backward, build, forward } from "../../src/embedding_collapse/book/live/recommender.js";
import { makeTrainer, measure, orderOf, stepsOf } from "../../src/embedding_collapse/book/live/sets_trainer.js";
import { abundance, spectrum } from "../../src/embedding_collapse/book/live/spectrum.js";
import { begin, step, thetas } from "../../src/embedding_collapse/book/live/toy.js";

function toy({ steps, row, ...setting }) {
  const run = begin(setting);
  const { one, two, three, context, labels } = run;
  const start = { one: one.slice(), two, three, context, labels };
  const pulls = thetas(run, row);
  const losses = Array.from({ length: steps }, () => step(run));
  const { singular } = spectrum(one, run.width);
  return { start, pulls, losses, end: { table: one, singular, ia: abundance(singular) } };
}

// Plain gradient descent, as PyTorch has it, in `adam`'s place.
function descent(weights, gradients, rate, decay) {
  return () => {
    for (let i = 0; i < weights.length; i++)
      weights[i] -= rate * (gradients[i] + decay * weights[i]);
  };
}

function recommender({ name, size, seed, table, rows, batch, optimizer, rate, decay }) {
  const clicks = drawClicks(table, rows);
  const model = build(name, size, seed);
  const { all, ...parts } = model.weights;
  const start = structuredClone(parts);
  const advance = { adam, descent }[optimizer](all, model.gradients.all, rate, decay);
  const losses = [];
  for (let from = 0; from + batch <= rows; from += batch) {
    const some = Uint32Array.from({ length: batch }, (_, i) => from + i);
    losses.push(backward(model, clicks, some));
    advance();
  }
  forward(model, clicks.ids, Uint32Array.from({ length: batch }, (_, i) => i), false);
  const logits = model.logits.slice(0, batch);
  return { clicks, start, losses, end: parts, logits, ...measure(model) };
}

function race(setting) {
  const train = makeTrainer();
  train({ setting });
  return Array.from({ length: setting.seeds }, () => train({ steps: stepsOf(setting) }));
}

const known = {
  ...{ toy, recommender, race, drawClicks, orderOf, product },
  ...{ placements, auc, grouped, contrast, holm, verdictOf },
};

/**
 * What one of these makes of its arguments, as JSON.
 * @param {keyof typeof known} name
 * @param {any[]} values
 */
export function call(name, values) {
  const made = known[name](...values);
  return JSON.stringify(made, (_, it) => (ArrayBuffer.isView(it) ? Array.from(it) : it));
}
