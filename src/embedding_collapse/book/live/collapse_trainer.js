// What trains: runs that go in step. The worker holds one and, where no worker can be made, the page.

import { abundance, spectrum } from "./spectrum.js";
import { begin, lossOf, safeRate, step, thetas } from "./toy.js";

/**
 * What to do: begin anew with `settings`, if any; train for `steps`, or as many of them as `budget`
 * milliseconds allow; then show the gradient at `row`.
 * @typedef {{ settings?: import("./toy.js").Setting[], steps?: number, budget?: number,
 *   row: number }} Order
 * @typedef {ReturnType<typeof show>} Shown
 * @typedef {{ runs: Shown[], fixed?: ReturnType<typeof constants>[] }} Answer
 * @typedef {import("./toy.js").Run & { first: number, diverged: number | null }} Watched
 */

/** @returns {(order: Order) => Answer} */
export function makeTrainer() {
  /** @type {Watched[]} */
  let runs = [];
  return ({ settings, steps = 0, budget = Infinity, row }) => {
    if (settings)
      runs = settings.map(begin).map((run) => ({ ...run, first: lossOf(run), diverged: null }));
    const end = performance.now() + budget;
    for (let done = 0; done < steps && performance.now() < end; done++) runs.forEach(advance);
    const answer = { runs: runs.map((run) => show(run, row)) };
    return settings ? { ...answer, fixed: runs.map(constants) } : answer;
  };
}

/**
 * One step, unless the run has diverged: the loss is convex in E_1, so no step of a learning rate
 * that is small enough takes it above where it began. It stops at the step that did, as it stood then.
 * @param {Watched} run
 */
function advance(run) {
  if (run.diverged !== null) return;
  const [before, held] = [run.step, run.one.slice()];
  const loss = step(run); // before the step
  if (loss <= run.first) return;
  [run.diverged, run.step] = [before, before];
  run.one.set(held);
}

/**
 * A run as it stands.
 * @param {Watched} run
 * @param {number} row
 */
function show(run, row) {
  const { singular } = spectrum(run.one, run.width);
  return {
    ...{ step: run.step, loss: lossOf(run), diverged: run.diverged, table: run.one.slice() },
    ...{ singular, ia: abundance(singular), thetas: thetas(run, row) },
  };
}

/**
 * What stays as it is: E_3, the three leading directions of E_1 at the start, each row's longer pull
 * there, the safe rate.
 * @param {Watched} run
 */
function constants(run) {
  const axes = spectrum(run.one, run.width).axes.slice(0, 3);
  const longest = (/** @type {number} */ row) =>
    Math.max(...thetas(run, row).map((theta) => Math.hypot(...theta)));
  const longer = Array.from({ length: run.one.length / run.width }, (_, row) => longest(row));
  return { axes, three: run.three, longer, safe: safeRate(run) };
}
