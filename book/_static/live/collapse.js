// Collapse, live: two runs of the toy experiment, trained before the reader's eyes. The section that
// `embedding_collapse.book.explorers.collapse` writes says which sliders there are; until it comes into
// view nothing is loaded but this.

import { readState, writeState } from "./address.js";
import { connect } from "./connect.js";
import * as draw from "./draw.js";

const NAME = "collapse";
const TURN = 0.0004; // radians a millisecond
const FASTEST = 25; // steps a picture; slow at first, when most happens
const JUMP = 250; // steps at a time, for readers who want no motion
const REACH = 2.2; // of the rows' root mean square: a cloud is drawn to its own size
const ARROW = 0.6; // of the reach, the longer pull at the start
const READING = 200; // milliseconds that numbers stand still while a run plays
const PICTURE = { role: "img", ariaLabel: "Not drawn yet" };

/**
 * @typedef {import("./trainer.js").Shown} Shown
 * @typedef {{ sliders: (import("./address.js").Slider & { texts: string[] })[],
 *   start: Record<string, number>, iterations: number,
 *   runs: { slider: string, colour: string, dash: number[] }[] }} Figure
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {object} properties
 * @param {...(Node | string)} children
 */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** @param {import("./draw.js").Place[]} places */
const rms = (places) => Math.hypot(...places.flat()) / Math.sqrt(places.length);

const nextFrame = () => new Promise(requestAnimationFrame);

/**
 * Put the live figure in the static one's place; returns how to end it.
 * @param {HTMLElement} section
 */
export async function mount(section) {
  const text = /** @type {HTMLElement} */ (section.querySelector("script")).textContent;
  /** @type {Figure} */
  const figure = JSON.parse(text ?? "");
  let { state, refused } = readState(location.search, NAME, figure.sliders, figure.start);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const trainer = await connect();

  /** @type {import("./trainer.js").Answer} */
  let answer = { runs: [] };
  /** @type {NonNullable<import("./trainer.js").Answer["fixed"]>} */
  let fixed = [];
  /** @type {Shown[]} */
  let first = [];
  let begun = state; // the state that the runs began with, while the sliders may be ahead
  /** @type {[number, number][][]} */
  let paths = [];
  let [anew, wanted, busy, playing, visible] = [true, false, false, false, true];
  let [owed, angle, written] = [0, 0.6, 0];

  // --- What there is to see -----------------------------------------------------------------------

  const panels = figure.runs.map(({ colour }) => {
    const cloud = element("canvas", { ...PICTURE, className: "ec-cloud", tabIndex: 0 });
    const bars = element("canvas", { ...PICTURE, className: "ec-bars" });
    const title = element("p", { className: "ec-run" });
    title.style.setProperty("--ec-run", colour);
    turnable(cloud);
    return { cloud, bars, title, box: element("div", {}, title, cloud, bars) };
  });
  const lines = element("canvas", { ...PICTURE, className: "ec-lines" });
  const readout = element("tbody", {});
  const heads = ["", "step", "loss", "IA at the start", "IA now"];
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  const table = element("table", { className: "ec-readout" }, element("thead", {}, head), readout);
  const status = element("p", { className: "ec-status" });
  status.setAttribute("aria-live", "polite");

  const play = element("button", { type: "button", onclick: toggle });
  const step = element("button", { type: "button", onclick: () => train(1) }, "Step");
  const reset = element("button", { type: "button", onclick: restart }, "Reset");
  const buttons = element("div", { role: "group", ariaLabel: "Training" }, play, step, reset);
  const sliders = figure.sliders.map(({ name, label, options, texts }) => {
    const input = element("input", { type: "range", name, min: 0, max: options.length - 1 });
    const value = element("span", { className: "ec-value", ariaHidden: "true" });
    const settle = () => {
      input.value = String(options.indexOf(state[name]));
      value.textContent = input.ariaValueText = texts[Number(input.value)];
    };
    input.oninput = () => {
      state = { ...state, [name]: options[Number(input.value)] };
      share();
      settle();
      if (name === "row") go();
      else restart();
    };
    settle();
    return element("label", {}, label, input, value);
  });

  // --- Training -----------------------------------------------------------------------------------

  const now = () => Math.max(0, ...answer.runs.map((run) => run.step));
  const over = () =>
    answer.runs.length > 0 &&
    answer.runs.every((run) => run.diverged !== null || run.step >= figure.iterations);

  function toggle() {
    if (still.matches) return train(JUMP);
    if (!playing && over()) anew = true;
    playing = !playing;
    if (playing) status.textContent = "Training.";
    name();
    go();
  }

  /** @param {number} steps */
  function train(steps) {
    playing = false;
    owed += steps;
    go();
  }

  function restart() {
    [anew, owed] = [true, 0];
    go();
  }

  // The one loop: an order to the trainer, then a picture, for as long as there is something to do.
  async function go() {
    wanted = true;
    if (busy) return;
    busy = true;
    let before = performance.now();
    while (wanted || owed || (playing && visible)) {
      wanted = false;
      const left = figure.iterations - now();
      const pace = Math.min(FASTEST, 1 + Math.floor(now() / 20));
      const steps = Math.min(left, owed || (playing ? pace : 0));
      const row = state.row - 1;
      const settings = figure.runs.map(({ slider }) => ({
        ...{ third: state[slider], width: state.width, seed: state.seed, rate: state.rate },
      }));
      const [fresh, chosen] = [anew, state];
      anew = false;
      const from = now();
      answer = await trainer.ask(fresh ? { settings, row } : { steps, row });
      if (fresh) {
        [fixed, first, begun] = [answer.fixed ?? [], answer.runs, chosen];
        paths = answer.runs.map(() => []);
      } else if (owed) owed = over() ? 0 : Math.max(0, owed - (now() - from));
      if (over()) playing = false;
      answer.runs.forEach(({ step, ia }, i) => paths[i].push([step, ia]));
      const time = await nextFrame();
      if (playing) angle += TURN * Math.min(100, time - before);
      before = time;
      if (!still.matches || !owed) paint();
    }
    busy = false;
    tell();
  }

  // --- Pictures and words -------------------------------------------------------------------------

  const titles = () => figure.runs.map(({ slider }) => `D₃ = ${begun[slider]}`);

  function paint() {
    const { width } = begun;
    const rowsOf = (/** @type {Float32Array} */ table, /** @type {Float64Array[]} */ axes) =>
      Array.from({ length: table.length / width }, (_, i) => draw.along(table, i * width, axes));
    answer.runs.forEach((run, i) => {
      const { axes, three } = fixed[i];
      const { colour } = figure.runs[i];
      const rows = rowsOf(run.table, axes);
      const reach = REACH * rms(rows);
      const longest = Math.max(...first[i].thetas.map((theta) => Math.hypot(...theta)));
      const arrow = (-ARROW * reach) / longest; // downhill
      const pulls = run.thetas.map((theta) => draw.along(theta.map((v) => v * arrow), 0, axes)); // prettier-ignore
      const rays = three.length / width > 10 ? [] : rowsOf(three, axes);
      const row = state.row - 1;
      draw.cloud(draw.sheet(panels[i].cloud), { rows, rays, row, pulls, reach, angle, colour });
      const most = Math.max(...answer.runs.map((each) => each.singular[0]), first[i].singular[0]);
      const values = { now: run.singular, start: first[i].singular, most, colour };
      draw.bars(draw.sheet(panels[i].bars), values);
    });
    const drawn = figure.runs.map((run, i) => ({ ...run, points: paths[i] }));
    draw.curves(draw.sheet(lines), { curves: drawn, steps: figure.iterations, width });
    if (!playing || performance.now() > written + READING) write();
  }

  function write() {
    written = performance.now();
    readout.replaceChildren(
      ...answer.runs.map((run, i) => {
        const numbers = [run.step.toLocaleString("en"), run.loss.toFixed(4)];
        const ias = [first[i].ia, run.ia].map((ia) => ia.toFixed(2));
        const cells = [titles()[i], ...numbers, ...ias].map((text) => element("td", {}, text));
        return element("tr", {}, ...cells);
      }),
    );
    panels.forEach(({ title }, i) => (title.textContent = titles()[i]));
    name();
  }

  function name() {
    play.textContent = still.matches ? `Next ${JUMP} steps` : playing ? "Pause" : "Play";
    step.disabled = over();
    play.disabled = still.matches && over();
  }

  // In words, once things stand still: what the pictures show, and what is amiss.
  function tell() {
    const { width } = begun;
    const notes = [...refused];
    answer.runs.forEach((run, i) => {
      const [was, is] = [first[i].ia, run.ia].map((ia) => ia.toFixed(2));
      const title = titles()[i];
      const { safe } = fixed[i];
      notes.push(`${title}: IA ${is} of ${width} at step ${run.step.toLocaleString("en")}.`);
      if (run.diverged !== null)
        notes.push(`Diverged at step ${run.diverged}, learning rate too large.`);
      else if (begun.rate > safe)
        notes.push(`It may diverge: the loss is sure to fall only below a rate of ${safe.toFixed(0)}.`);
      panels[i].cloud.ariaLabel =
        `The 100 rows of E₁ as a cloud, ${title}, step ${run.step}: IA ${was} at the start, ${is} ` +
        "now. Left and right arrow keys turn it.";
      const values = Array.from(run.singular, (value) => value.toFixed(1)).join(", ");
      panels[i].bars.ariaLabel = `Singular values of E₁, ${title}: ${values}`;
    });
    const ends = answer.runs.map((run, i) => `${titles()[i]} ${run.ia.toFixed(2)}`);
    lines.ariaLabel = `Information abundance of E₁ over the steps; now: ${ends.join(", ")}`;
    status.textContent = notes.join(" ");
    write();
  }

  function share() {
    refused = [];
    try {
      history.replaceState(null, "", writeState(location.search, NAME, state) + location.hash);
    } catch {
      // a page without an address of its own, as in some notebooks, has none to share
    }
  }

  /** @param {HTMLCanvasElement} canvas */
  function turnable(canvas) {
    canvas.onpointerdown = ({ pointerId }) => canvas.setPointerCapture(pointerId);
    canvas.onpointermove = ({ buttons: held, movementX }) => held && turn(movementX / 100);
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
    if (!busy) requestAnimationFrame(paint);
  }

  // --- Beginning and end --------------------------------------------------------------------------

  const key = element("p", { className: "ec-key" });
  const pull = (/** @type {string} */ colour, /** @type {string} */ words) => {
    const sign = element("span", { ariaHidden: "true" }, "➜");
    sign.style.color = colour;
    key.append(element("span", {}, sign, ` ${words}`), " ");
  };
  pull(draw.INKS.second, "pull of field 2 on the chosen row,");
  pull(draw.INKS.third, "pull of field 3; dashed: the directions of E₃’s rows, up to ten.");
  key.append("Clouds are drawn to their own size, bars are not; lines: at the start.");
  const runs = element("div", { className: "ec-runs" }, ...panels.map(({ box }) => box));
  const controls = element("div", { className: "ec-controls" }, buttons, ...sliders);
  const scroll = element("div", { className: "ec-scroll" }, table);
  const parts = [controls, runs, key, lines, scroll, status];
  section.querySelector(".ec-static")?.replaceWith(...parts);
  section.dataset.live = "true";

  const seen = new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    if (visible && playing) go();
  });
  seen.observe(section);
  const redraw = () => answer.runs.length && !busy && requestAnimationFrame(paint);
  const sized = new ResizeObserver(redraw);
  sized.observe(lines);
  const themed = new MutationObserver(redraw);
  themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  still.addEventListener("change", name);
  await go();
  return () => {
    playing = false;
    for (const observer of [seen, sized, themed]) observer.disconnect();
    trainer.end();
  };
}

if (globalThis.document)
  for (const section of document.querySelectorAll(`.ec-training[data-figure=${NAME}]`)) {
    const seen = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      seen.disconnect();
      mount(/** @type {HTMLElement} */ (section));
    });
    seen.observe(section);
  }
