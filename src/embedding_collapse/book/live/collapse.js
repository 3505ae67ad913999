// Collapse, live: two runs of the toy experiment, trained before the reader's eyes.

import { makeTrainer } from "./collapse_trainer.js";
import { connect } from "./connect.js";
import * as draw from "./draw.js";
import {
  PICTURE,
  element,
  makePlayer,
  makeTable,
  mountInView,
  open,
  place,
  whenSeen,
} from "./figure.js";

const TURN = 0.0004; // radians a millisecond
const FASTEST = 25; // steps a picture; slow at first, when most happens
const BUDGET = 10; // milliseconds of training at most before the next picture
const JUMP = 250; // steps at a time, for readers who want no motion
const REACH = 2.2; // of the rows' root mean square: a cloud is drawn to its own size
const ARROW = 0.6; // of the reach, the longer pull at the start

/**
 * @typedef {import("./collapse_trainer.js").Answer} Answer
 * @typedef {import("./collapse_trainer.js").Shown} Shown
 */

/** @param {import("./draw.js").Place[]} places */
const rms = (places) => Math.hypot(...places.flat()) / Math.sqrt(places.length);

/**
 * Put the live figure in the static one's place; returns how to end it.
 * @param {HTMLElement} section
 */
export async function mount(section) {
  const held = open(section, (name) => (name === "row" ? player.go() : player.restart()));
  const figure = held.content;
  /** @type {{ slider: string, colour: string, dash: number[] }[]} */
  const runs = figure.runs;
  const worker = new URL("./collapse_worker.js", import.meta.url);
  const trainer = await connect(worker, makeTrainer, BUDGET);

  /** @type {Answer} */
  let answer = { runs: [] };
  /** @type {NonNullable<Answer["fixed"]>} */
  let fixed = [];
  /** @type {Shown[]} */
  let first = [];
  let begun = held.state; // the state that the runs began with, while the sliders may be ahead
  /** @type {[number, number][][]} */
  let paths = [];
  let angle = 0.6;

  const panels = runs.map(({ colour }) => {
    const cloud = element("canvas", { ...PICTURE, className: "ec-cloud", tabIndex: 0 });
    const bars = element("canvas", { ...PICTURE, className: "ec-bars" });
    const title = element("p", { className: "ec-run" });
    title.style.setProperty("--ec-run", colour);
    turnable(cloud);
    return { cloud, bars, title, box: element("div", {}, title, cloud, bars) };
  });
  const lines = element("canvas", { ...PICTURE, className: "ec-lines" });
  const table = makeTable(["", "step", "loss", "IA at the start", "IA now"]);

  const position = () => Math.max(0, ...answer.runs.map((run) => run.step));
  const player = makePlayer({
    ...{ train, position, paint, write, tell, status: held.status },
    total: () => figure.iterations,
    over: () =>
      answer.runs.length > 0 &&
      answer.runs.every((run) => run.diverged !== null || run.step >= figure.iterations),
    pace: () => Math.min(FASTEST, 1 + Math.floor(position() / 20)),
    jump: { steps: () => JUMP, text: `Next ${JUMP} steps` },
  });

  /**
   * @param {boolean} fresh
   * @param {number} steps
   */
  async function train(fresh, steps) {
    const { width, seed, rate, row, ...thirds } = held.state;
    const chosen = held.state;
    const settings = runs.map(({ slider }) => ({ third: thirds[slider], width, seed, rate }));
    const order = { row: row - 1, steps };
    answer = await trainer.ask(fresh ? { settings, ...order } : order);
    if (fresh) {
      [fixed, first, begun] = [answer.fixed ?? [], answer.runs, chosen];
      paths = answer.runs.map(() => []);
    }
    answer.runs.forEach(({ step, ia }, i) => paths[i].push([step, ia]));
  }

  const titles = () => runs.map(({ slider }) => `D₃ = ${begun[slider]}`);

  /** @param {number} elapsed */
  function paint(elapsed) {
    if (!answer.runs.length) return;
    angle += TURN * Math.min(100, elapsed);
    const { width } = begun;
    const rowsOf = (/** @type {Float32Array} */ table, /** @type {Float64Array[]} */ axes) =>
      Array.from({ length: table.length / width }, (_, i) => draw.along(table, i * width, axes));
    answer.runs.forEach((run, i) => {
      const { axes, three } = fixed[i];
      const { colour } = runs[i];
      const rows = rowsOf(run.table, axes);
      const reach = REACH * rms(rows);
      const row = held.state.row - 1;
      const arrow = (-ARROW * reach) / fixed[i].longer[row]; // downhill
      const pulls = run.thetas.map((theta) => draw.along(theta.map((v) => v * arrow), 0, axes)); // prettier-ignore
      const rays = three.length / width > 10 ? [] : rowsOf(three, axes);
      draw.cloud(draw.sheet(panels[i].cloud), { rows, rays, row, pulls, reach, angle, colour });
      const most = Math.max(...answer.runs.map((each) => each.singular[0]), first[i].singular[0]);
      const values = { now: run.singular, ticks: first[i].singular, most, colour };
      draw.bars(draw.sheet(panels[i].bars), { ...values, title: "singular values" });
    });
    const curves = runs.map((run, i) => ({ ...run, points: paths[i] }));
    const range = { steps: figure.iterations, low: 1, high: width };
    const title = "information abundance of E₁ over the steps";
    draw.curves(draw.sheet(lines), { ...range, curves, title });
  }

  function write() {
    table.fill(
      answer.runs.map((run, i) => {
        const ias = [first[i].ia, run.ia].map((ia) => ia.toFixed(2));
        const ended = run.diverged === null ? "" : ", diverged";
        return [titles()[i], run.step.toLocaleString("en") + ended, run.loss.toFixed(4), ...ias];
      }),
    );
    panels.forEach(({ title, cloud, bars }, i) => {
      const { step, ia, singular } = answer.runs[i];
      title.textContent = titles()[i];
      cloud.setAttribute(
        "aria-label",
        `The 100 rows of E₁ as a cloud, ${titles()[i]}, step ${step}: IA ${first[i].ia.toFixed(2)} at ` +
          `the start, ${ia.toFixed(2)} now. Left and right arrow keys turn it.`,
      );
      const values = Array.from(singular, (value) => value.toFixed(1)).join(", ");
      bars.setAttribute("aria-label", `Singular values of E₁, ${titles()[i]}: ${values}`);
    });
    const ends = answer.runs.map((run, i) => `${titles()[i]} ${run.ia.toFixed(2)}`);
    const told = `Information abundance of E₁ over the steps; now: ${ends.join(", ")}`;
    lines.setAttribute("aria-label", told);
  }

  // In words, once things stand still: how far it is, and what is amiss.
  function tell() {
    const { width } = begun;
    const notes = /** @type {string[]} */ ([]);
    answer.runs.forEach((run, i) => {
      const { safe } = fixed[i];
      const place = `at step ${run.step.toLocaleString("en")}`;
      notes.push(`${titles()[i]}: IA ${run.ia.toFixed(2)} of ${width} ${place}.`);
      if (run.diverged !== null)
        notes.push(`Diverged at step ${run.diverged}, learning rate too large.`);
      else if (begun.rate > safe)
        notes.push(`It may diverge: the loss is sure to fall only below a rate of ${safe.toFixed(0)}.`);
    });
    return notes.join(" ");
  }

  /** @param {HTMLCanvasElement} canvas */
  function turnable(canvas) {
    let last = 0; // where the pointer was: not every browser's pointermove has a movementX
    canvas.onpointerdown = ({ pointerId, clientX }) => {
      canvas.setPointerCapture(pointerId);
      last = clientX;
    };
    canvas.onpointermove = ({ buttons: pressed, clientX }) => {
      if (pressed) turn((clientX - last) / 100);
      last = clientX;
    };
    canvas.onkeydown = (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      turn(0.15 * way);
    };
  }

  /** @param {number} by */
  function turn(by) {
    angle += by;
    requestAnimationFrame(player.paint);
  }

  const key = element("p", { className: "ec-key" });
  const pull = (/** @type {string} */ colour, /** @type {string} */ words) => {
    const sign = element("span", { ariaHidden: "true" }, "➜");
    sign.style.color = colour;
    key.append(element("span", {}, sign, ` ${words}`), " ");
  };
  pull(draw.INKS.second, "pull of field 2 on the chosen row,");
  pull(draw.INKS.third, "pull of field 3; dashed: the directions of E₃’s rows, up to ten.");
  key.append("Clouds are drawn to their own size, bars are not; lines: at the start.");
  const boxes = element("div", { className: "ec-runs" }, ...panels.map(({ box }) => box));
  const controls = element("div", { className: "ec-controls" }, player.buttons, ...held.controls);
  const parts = [held.notice, controls, boxes, key, lines, table.box, held.status];
  const leave = place(section, parts, lines, player);
  await player.go();
  const stay = whenSeen(boxes, 0.5, player.start);
  return () => {
    stay();
    leave();
    player.end();
    trainer.end();
  };
}

mountInView("collapse", mount);
