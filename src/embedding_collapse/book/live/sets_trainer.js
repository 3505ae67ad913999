// What trains single against multi-embedding: the base model, SE and ME on the same batches, one seed
// after another, and what their AUC and information abundance say of the claims.

import { drawClicks, SIZES } from "./clicks.js";
import { contrast, holm, verdictOf } from "./contrast.js";
import { auc, grouped, meanOf, part, placements } from "./metrics.js";
import { adam } from "./optimizer.js";
import { Generator } from "./random.js";
import { backward, build, forward, MOST } from "./recommender.js";
import { abundance, spectrum } from "./spectrum.js";

const EPOCH_SEEDS = 1_000_003; // as `training.fit` seeds its shuffling

/**
 * `table` is the seed of the rows, `train` of which are for training and `test` are held out; `rate`
 * is Adam's.
 * @typedef {{ model: import("./recommender.js").Name, scale: number, seeds: number, table: number,
 *   rate: number, train: number, test: number, epochs: number, batch: number, decay: number,
 *   width: number, hidden: number, claims: Claim[] }} Setting
 * What is claimed of the numbers of two designs, 0 to 2, and the difference that counts as none.
 * @typedef {{ measure: "auc" | "share", band: number, more: number, less: number,
 *   expected: "higher" | "lower" }} Claim
 * What to do: begin anew with `setting`, if any; train for `steps`, or as many of them as `budget`
 * milliseconds allow, but to the end of a seed at most, so that its curves can be shown whole.
 * @typedef {{ setting?: Setting, steps?: number, budget?: number }} Order
 * @typedef {ReturnType<typeof show>} Answer
 * @typedef {ReturnType<typeof beginRun>} Run
 * @typedef {{ auc: number, share: number, places: import("./metrics.js").Placements }} End
 * @typedef {{ setting: Setting, seed: number, step: number, position: number, over: boolean,
 *   diverged: number | null, runs: Run[], ends: End[][] }} Race
 */

/** @returns {(order: Order) => Answer} */
export function makeTrainer() {
  /** @type {Race} */
  let race;
  /** @type {Iterator<void>} */
  let work;
  return ({ setting, steps = 0, budget = Infinity }) => {
    if (setting) {
      const start = { seed: 0, step: 0, position: 0, over: false, diverged: null };
      race = { setting, ...start, runs: beginRuns(setting, 0), ends: [] };
      work = train(race);
    }
    const left = stepsOf(race.setting) - (race.position % stepsOf(race.setting));
    const [end, target] = [performance.now() + budget, race.position + Math.min(steps, left)];
    while (race.position < target && performance.now() < end && !race.over) work.next();
    return show(race);
  };
}

/** @param {Pick<Setting, "train" | "batch" | "epochs">} setting */
export const stepsOf = ({ train, batch, epochs }) => Math.ceil(train / batch) * epochs;

/**
 * The base model, SE and ME.
 * @param {Setting} setting
 * @param {number} seed
 */
const beginRuns = ({ scale, width, ...setting }, seed) =>
  [[1, width], [1, scale * width], [scale, width]].map(([sets, wide]) => beginRun(setting, sets, wide, seed)); // prettier-ignore

/**
 * @param {Omit<Setting, "scale" | "width">} setting
 * @param {number} sets
 * @param {number} width
 * @param {number} seed
 */
function beginRun({ model: name, hidden, rate, decay }, sets, width, seed) {
  const model = build(name, { sets, width, hidden }, seed);
  const advance = adam(model.weights.all, model.gradients.all, rate, decay);
  return { model, advance, loss: NaN, auc: NaN, points: /** @type {[number, number][]} */ ([]), end: /** @type {End | null} */ (null) }; // prettier-ignore
}

/**
 * All the work, in parts of a few milliseconds.
 * @param {Race} race
 * @returns {IterableIterator<void>}
 */
function* train(race) {
  const { setting } = race;
  const steps = Math.ceil(setting.train / setting.batch);
  const clicks = drawClicks(setting.table, setting.train + setting.test);
  for (let seed = 0; seed < setting.seeds; seed++) {
    [race.seed, race.step] = [seed, 0];
    if (seed) race.runs = beginRuns(setting, seed);
    yield* evaluate(race, clicks);
    for (let epoch = 0; epoch < setting.epochs; epoch++) {
      const order = orderOf(seed, epoch, setting.train);
      for (let step = 0; step < steps; step++) {
        const batch = part(order, step, steps);
        for (const run of race.runs) {
          run.loss = backward(run.model, clicks, batch);
          if (!Number.isFinite(run.loss)) return stop(race);
          run.advance();
          yield;
        }
        race.step++;
        if (step + 1 === Math.floor(steps / 2) || step + 1 === steps) yield* evaluate(race, clicks);
        if (race.over) return;
        if (race.step === steps * setting.epochs)
          race.ends.push(race.runs.map(({ end }) => /** @type {End} */ (end)));
        race.position++;
        race.over = race.position === setting.seeds * stepsOf(setting);
        yield; // so that each step can be the last of an order
      }
    }
  }
}

/**
 * Nothing more can come of it.
 * @param {Race} race
 */
function stop(race) {
  [race.diverged, race.over] = [race.step, true];
}

/**
 * The order in which an epoch goes through its rows.
 * @param {number} seed
 * @param {number} epoch
 * @param {number} rows
 */
export function orderOf(seed, epoch, rows) {
  return new Generator(seed * EPOCH_SEEDS + epoch).permutation(rows);
}

/**
 * Test all runs on the held-out rows.
 * @param {Race} race
 * @param {import("./clicks.js").Clicks} clicks
 * @returns {IterableIterator<void>}
 */
function* evaluate(race, { ids, labels }) {
  const { runs, step, setting: { train, test } } = race; // prettier-ignore
  const held = Uint32Array.from({ length: test }, (_, i) => train + i);
  for (const run of runs) {
    const scores = new Float32Array(test);
    for (let from = 0; from < test; from += MOST) {
      const rows = held.subarray(from, from + MOST);
      forward(run.model, ids, rows, false);
      scores.set(run.model.logits.subarray(0, rows.length), from);
      yield;
    }
    if (!scores.every(Number.isFinite)) return stop(race);
    const places = placements(scores, labels.subarray(train));
    run.auc = auc(places);
    run.points.push([step, run.auc]);
    run.end = { auc: run.auc, share: measure(run.model).share, places: grouped(places) };
    yield;
  }
}

/**
 * The singular values of every field's table, set after set, and the mean of IA / K.
 * @param {Pick<import("./recommender.js").Model, "sets" | "width" | "weights">} model
 */
export function measure({ sets, width, weights: { table } }) {
  let start = 0;
  const shares = /** @type {number[]} */ ([]);
  const spectra = SIZES.map((size) => {
    const rows = new Float32Array(size * width);
    const fields = Array.from({ length: sets }, (_, m) => {
      for (let at = 0; at < size * width; at++) {
        const row = start + Math.floor(at / width);
        rows[at] = table[(row * sets + m) * width + (at % width)];
      }
      const { singular } = spectrum(rows, width);
      shares.push(abundance(singular) / width);
      return singular;
    });
    start += size;
    return fields;
  });
  return { spectra, share: meanOf(shares) };
}

/**
 * A race as it stands.
 * @param {Race} race
 */
function show({ setting, seed, step, position, over, diverged, runs, ends }) {
  const shown = runs.map(({ model, loss, auc, points }) => ({
    ...{ loss, auc, points: points.slice(), ...measure(model) },
  }));
  const done = ends.map((end) => end.map(({ auc, share }) => ({ auc, share })));
  return { seed, step, position, over, diverged, runs: shown, ends: done, effects: effectsOf(setting.claims, ends) }; // prettier-ignore
}

/**
 * What the seeds that are through say of each claim.
 * @param {Claim[]} claims
 * @param {End[][]} ends
 */
function effectsOf(claims, ends) {
  if (!ends.length) return [];
  const effects = claims.map(({ measure, more, less }) =>
    contrast(
      [[more, 1], [less, -1]].map(([design, weight]) => {
        const values = ends.map((end) => end[design][measure]);
        if (measure === "share") return { weight, values };
        return { weight, values, placements: ends.map((end) => end[design].places) };
      }), // prettier-ignore
    ),
  );
  const corrected = holm(effects.map(({ p }) => p));
  return effects.map((effect, i) => {
    const { expected, band } = claims[i];
    return { ...effect, verdict: verdictOf(effect, expected, band, corrected[i]) };
  });
}
