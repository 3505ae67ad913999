// Single against multi-embedding: the base model, SE and ME, trained before the reader's eyes on the
// same batches of clicks, over several seeds.

import { SIZES } from "./clicks.js";
import { connect } from "./connect.js";
import * as draw from "./draw.js";
import { PICTURE, element, makePlayer, makeTable, mountInView, open, place } from "./figure.js";
import { makeTrainer, stepsOf } from "./sets_trainer.js";
import { abundance } from "./spectrum.js";

const BUDGET = 30; // milliseconds of training at most before the next picture
const LOWEST = 0.45; // a little below the AUC of a coin

/** @typedef {import("./sets_trainer.js").Answer} Answer */

/**
 * Put the live figure in the static one's place; returns how to end it.
 * @param {HTMLElement} section
 */
export async function mount(section) {
  const held = open(section, () => player.restart());
  const figure = held.content;
  /** @type {{ name: string, colour: string, dash: number[] }[]} */
  const designs = figure.designs;
  /** @type {{ text: string, measure: "auc" | "share" }[]} */
  const claims = figure.setting.claims;
  const worker = new URL("./sets_worker.js", import.meta.url);
  const trainer = await connect(worker, makeTrainer, BUDGET);

  /** @type {Answer} */
  let answer;
  let begun = held.state; // the state that the runs began with, while the controls may be ahead
  /** @type {[number, number][][]} */
  let shares = [];
  /** @type {{ auc: [number, number][], share: [number, number][] }[][]} */
  let before = []; // the curves of the seeds that are through

  const panels = designs.map(({ colour }) => {
    const spectra = element("canvas", { ...PICTURE, className: "ec-bars" });
    const title = element("p", { className: "ec-run" });
    title.style.setProperty("--ec-run", colour);
    return { spectra, title, box: element("div", {}, title, spectra) };
  });
  const aucs = element("canvas", { ...PICTURE, className: "ec-lines" });
  const abundances = element("canvas", { ...PICTURE, className: "ec-lines" });
  const table = makeTable(["", "seed", "step", "loss", "AUC on held-out rows", "IA/K"]);
  const verdicts = makeTable(["Claim", "verdict", "effect", "95% interval", "seeds"]);

  const stepsOfSeed = stepsOf(figure.setting);
  const player = makePlayer({
    ...{ train, paint, write, tell, status: held.status },
    position: () => answer?.position ?? 0,
    total: () => begun.seeds * stepsOfSeed,
    over: () => answer?.over ?? false,
    pace: () => Infinity,
    // from within a seed, where one was stopped, to its end
    jump: { steps: (from) => stepsOfSeed - (from % stepsOfSeed), text: "Train the next seed" },
  });

  /**
   * @param {boolean} fresh
   * @param {number} steps
   */
  async function train(fresh, steps) {
    const [chosen, seed] = [held.state, answer?.seed];
    const setting = { ...figure.setting, ...chosen };
    const next = await trainer.ask(fresh ? { setting } : { steps });
    if (fresh) [begun, before, shares] = [chosen, [], next.runs.map(() => [])];
    else if (next.seed !== seed) {
      before.push(answer.runs.map(({ points }, i) => ({ auc: points, share: shares[i] })));
      shares = next.runs.map(() => []);
    }
    answer = next;
    answer.runs.forEach(({ share }, i) => shares[i].push([answer.step, share]));
  }

  const titles = () => designs.map(({ name }) => (name === "base" ? name : `${name} ${begun.scale}x`));
  const texts = {
    spectra: "singular values, by features",
    auc: "AUC on held-out rows",
    share: "IA/K, mean over fields",
  };

  function paint() {
    if (!answer) return;
    answer.runs.forEach(({ spectra }, i) => {
      const what = { spectra, names: SIZES.map(String), colour: designs[i].colour };
      draw.spectra(draw.sheet(panels[i].spectra), { ...what, title: texts.spectra });
    });
    const lines = (/** @type {"auc" | "share"} */ kind, /** @type {[number, number][][]} */ now) => [
      ...before.flatMap((runs) => designs.map((design, i) => ({ ...design, points: runs[i][kind], pale: true }))), // prettier-ignore
      ...designs.map((design, i) => ({ ...design, points: now[i] })),
    ];
    const known = answer.runs.map(({ points }) => points);
    const all = lines("auc", known);
    const most = Math.max(0.6, ...all.flatMap(({ points }) => points.map(([, auc]) => auc)));
    const high = Math.ceil(most * 20) / 20;
    const steps = stepsOfSeed;
    draw.curves(draw.sheet(aucs), { curves: all, steps, low: LOWEST, high, title: texts.auc });
    const curves = lines("share", shares);
    draw.curves(draw.sheet(abundances), { curves, steps, low: 0, high: 1, title: texts.share });
  }

  const number = (/** @type {number} */ value, digits = 4) =>
    Number.isFinite(value) ? value.toFixed(digits).replace("-", "−") : "–";
  const signed = (/** @type {number} */ value) => (value > 0 ? "+" : "") + number(value);

  function write() {
    const at = [`${answer.seed}`, answer.step.toLocaleString("en")];
    table.fill(
      answer.runs.map(({ loss, auc, share }, i) => {
        return [titles()[i], ...at, number(loss), number(auc), number(share, 2)];
      }),
    );
    const known = answer.over && answer.diverged === null;
    verdicts.fill(
      claims.map(({ text }, i) => {
        const effect = answer.effects[i];
        const seeds = `${answer.ends.length} of ${begun.seeds}`;
        if (!effect) return [text, "–", "–", "–", seeds];
        const { value, low, high, verdict } = effect;
        const interval = Number.isFinite(low) ? `${signed(low)} to ${signed(high)}` : "–";
        return [text, known ? verdict : "–", signed(value), interval, seeds];
      }),
    );
    const { seed, step, runs } = answer;
    const numbers = runs.map(({ auc, share }, i) => {
      return `${titles()[i]}: AUC ${number(auc)}, IA/K ${number(share, 2)}`;
    });
    panels.forEach(({ title, spectra }, i) => {
      title.textContent = titles()[i];
      const values = runs[i].spectra.map((sets) => sets.map((one) => `IA ${number(abundance(one), 1)} of ${one.length}`)); // prettier-ignore
      const fields = values.map((field, f) => `${SIZES[f]} features: ${field.join(", ")}`);
      spectra.setAttribute("aria-label", `Singular values, ${titles()[i]}; ${fields.join("; ")}`);
    });
    const now = `seed ${seed}, step ${step}: ${numbers.join("; ")}`;
    aucs.setAttribute("aria-label", `${texts.auc}; ${now}`);
    abundances.setAttribute("aria-label", `${texts.share}; ${now}`);
  }

  // In words, once things stand still: how far it is, what came out, and what is amiss.
  function tell() {
    const { seed, step, over, diverged, effects } = answer;
    const notes = [`Seed ${seed}, step ${step.toLocaleString("en")}.`];
    if (diverged !== null) notes.push(`Diverged at step ${diverged}, learning rate too large.`);
    else if (over) notes.push(...claims.map(({ text }, i) => `${effects[i].verdict}: ${text}`));
    return notes.join(" ");
  }

  const boxes = element("div", { className: "ec-runs ec-three ec-stacked" }, ...panels.map(({ box }) => box));
  const lines = element("div", { className: "ec-runs ec-stacked" }, aucs, abundances);
  const controls = element("div", { className: "ec-controls" }, player.buttons, ...held.controls);
  const parts = [held.notice, controls, boxes, lines, table.box, verdicts.box, held.status];
  const leave = place(section, parts, aucs, player);
  await player.go();
  return () => {
    leave();
    player.end();
    trainer.end();
  };
}

mountInView("sets", mount);
