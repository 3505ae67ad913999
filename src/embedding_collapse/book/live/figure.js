// What the figures that train share: their section of the page, controls, and the loop that goes
// between a trainer and its picture. The section, which `embedding_collapse.book.explorers.training`
// writes, says which controls there are.

import { keepState, readState } from "./address.js";

export const PICTURE = { role: "img", ariaLabel: "Not drawn yet" };
const READING = 200; // milliseconds that numbers stand still while a run plays
const CALM = 1000; // the same, for readers who want no motion
const STILL = 200; // milliseconds without a change before the address has the state
const PAPER = "610px"; // of width that a sheet of A4 leaves a figure's pictures

/**
 * @typedef {import("./address.js").State} State
 * @typedef {import("./address.js").Slider & { texts: string[] }} Slider
 * @typedef {{ sliders: Slider[], start: State } & Record<string, any>} Content
 */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {object} properties
 * @param {...(Node | string)} children
 */
export function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    // as attributes: Firefox has these properties since version 119 only
    if (/^(role$|aria)/.test(name))
      made.setAttribute(name.replace("aria", "aria-").toLowerCase(), value);
    else Object.assign(made, { [name]: value });
  }
  made.append(...children);
  return made;
}

/**
 * A table of text.
 * @param {string[]} heads
 */
export function makeTable(heads) {
  const body = element("tbody", {});
  const head = element("tr", {}, ...heads.map((name) => element("th", { scope: "col" }, name)));
  const table = element("table", { className: "ec-readout" }, element("thead", {}, head), body);
  return {
    box: element("div", { className: "ec-scroll" }, table),
    /** @param {string[][]} rows */
    fill: (rows) =>
      body.replaceChildren(
        ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", {}, text)))),
      ),
  };
}

/**
 * What a section holds: the figure's content, its state, which the address may ask for, controls that
 * change it, and a notice of what the address asked for in vain, until the reader chooses.
 * @param {HTMLElement} section
 * @param {(name: string) => void} changed
 */
export function open(section, changed) {
  section.dataset.opened = "true";
  const text = /** @type {HTMLElement} */ (section.querySelector("script")).textContent;
  /** @type {Content} */
  const content = JSON.parse(text ?? "");
  const name = /** @type {string} */ (section.dataset.figure);
  const { state, refused } = readState(location.search, name, content.sliders, content.start);
  const status = element("p", { className: "ec-status" });
  status.setAttribute("aria-live", "polite");
  const notice = element("p", { className: "ec-notice", role: "status", hidden: !refused }, refused);
  const held = { content, state, notice, status, controls: /** @type {HTMLElement[]} */ ([]) };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let writing;
  held.controls = content.sliders.map((slider) =>
    makeControl(slider, held.state, (value) => {
      held.state = { ...held.state, [slider.name]: value };
      notice.hidden = true;
      clearTimeout(writing);
      // a slider that is dragged changes more often than a browser lets the address change
      writing = setTimeout(() => keepState(name, held.state, section.id), STILL);
      changed(slider.name);
    }),
  );
  return held;
}

/**
 * A slider, or a menu where the options are words.
 * @param {Slider} slider
 * @param {State} state at first
 * @param {(value: number | string) => void} chosen
 */
function makeControl({ name, label, options, texts }, state, chosen) {
  if (typeof options[0] === "string") {
    const choices = options.map((option, i) => element("option", { value: option }, texts[i]));
    const menu = element("select", { name }, ...choices);
    menu.value = state[name];
    menu.onchange = () => chosen(menu.value);
    return element("label", {}, label, menu);
  }
  const input = element("input", { type: "range", name, min: 0, max: options.length - 1 });
  const value = element("span", { className: "ec-value", ariaHidden: "true" });
  value.style.minWidth = `${Math.max(...texts.map((text) => text.length))}ch`;
  const settle = () => {
    value.textContent = texts[Number(input.value)];
    input.setAttribute("aria-valuetext", value.textContent);
  };
  input.value = String(options.indexOf(state[name]));
  input.oninput = () => {
    settle();
    chosen(options[Number(input.value)]);
  };
  settle();
  return element("label", {}, label, input, value);
}

/**
 * Buttons that train, and the one loop behind them: an order to the trainer, then a picture, for as
 * long as there is something to do.
 * @param {{
 *   train: (fresh: boolean, steps: number) => Promise<unknown>,
 *   position: () => number,
 *   over: () => boolean,
 *   total: () => number,
 *   pace: () => number,
 *   jump: { steps: (from: number) => number, text: string },
 *   paint: (elapsed: number) => void,
 *   write: () => void,
 *   tell: () => string,
 *   status: HTMLElement,
 * }} figure `train` gives an order, to begin anew or to go so many steps, and takes the answer;
 *   `position` of `total` is where the training stands; `pace` is how many steps there are to a
 *   picture, Infinity for as many as the trainer can; `jump` is what readers who want no motion take
 *   at a time; `paint` and `write` bring pictures and numbers up to date, `tell` says it in words
 */
export function makePlayer(figure) {
  const { train, position, over, total, pace, jump, status } = figure;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  // `playing` is what the reader last asked for, and outlasts a run: another setting plays as well
  let [anew, wanted, busy, playing, visible, touched] = [true, false, false, false, true, false];
  let [fresh, owed, before, written] = [false, 0, 0, 0];
  /** @type {Promise<void> | null} */
  let drawing = null;

  // A button that can do nothing now keeps the focus.
  const button = (/** @type {string} */ text, /** @type {() => void} */ act) => {
    const able = () => made.getAttribute("aria-disabled") !== "true";
    const onclick = () => able() && ((touched = true), act());
    const made = element("button", { type: "button", onclick }, text);
    return made;
  };
  const play = button("Play", toggle);
  const step = button("Step", () => goOn(1));
  const reset = button("Reset", halt);
  const buttons = element("div", { role: "group", ariaLabel: "Training" }, play, step, reset);

  function toggle() {
    if (still.matches) return owed ? goOn(-owed) : leap();
    const ended = over();
    if (ended) anew = true;
    playing = ended || !playing;
    if (playing) status.textContent = "Training.";
    name();
    go();
  }

  // Without motion: a picture at the end, and numbers on the way; pressed again, the button stops it.
  function leap() {
    status.textContent = "Training…";
    goOn(jump.steps(anew || fresh ? 0 : position()));
    name();
  }

  // By itself, unless the reader has begun.
  function start() {
    if (!still.matches && !touched) toggle();
  }

  function halt() {
    playing = false;
    restart();
  }

  /** @param {number} steps */
  function goOn(steps) {
    playing = false;
    owed += steps;
    go();
  }

  function restart() {
    [anew, owed] = [true, 0];
    go();
  }

  const due = () => wanted || owed > 0 || (playing && visible && !over());

  async function go() {
    wanted = true;
    if (busy) return;
    busy = true;
    before = performance.now();
    try {
      while (due()) {
        wanted = false;
        [fresh, anew] = [anew, false];
        const from = fresh ? 0 : position();
        const steps = fresh ? 0 : Math.min(total() - from, owed || (playing ? pace() : 0));
        await train(fresh, steps);
        if (!fresh && !anew && owed) owed = over() ? 0 : Math.max(0, owed - (position() - from));
        fresh = false;
        drawing ??= new Promise(requestAnimationFrame).then(draw);
        // of the last picture too: what a reader turns while it is drawn is done next
        if (pace() < Infinity || !due()) await drawing;
      }
      status.textContent = figure.tell();
      refresh();
    } catch (error) {
      // a worker that died, say: without a word, every button would seem to do nothing
      console.error(error);
      [anew, wanted, owed, playing] = [true, false, 0, false];
      const { message = "no reason given" } = /** @type {{ message?: string }} */ (error);
      status.textContent = `The training stopped (${message}). Reset starts it again.`;
      name();
    } finally {
      busy = false;
    }
  }

  /** @param {number} time */
  function draw(time) {
    drawing = null;
    if (still.matches) playing = false; // Chromium tells nobody of a change that was read before
    const elapsed = playing ? time - before : 0;
    before = time;
    const leaping = still.matches && owed > 0;
    if (!leaping) figure.paint(elapsed);
    const recent = performance.now() < written + (leaping ? CALM : READING);
    if (!recent || (!leaping && (!playing || over()))) refresh();
  }

  function refresh() {
    written = performance.now();
    figure.write();
    name();
  }

  function name() {
    const moving = playing && !over();
    const resting = still.matches ? jump.text : "Play";
    play.textContent = moving || (still.matches && owed) ? "Pause" : resting;
    status.classList.toggle("ec-heard", moving); // the table tells the time meanwhile
    step.setAttribute("aria-disabled", String(over()));
    play.setAttribute("aria-disabled", String(still.matches && over()));
  }

  function calm() {
    if (still.matches) playing = false;
    name();
  }

  still.addEventListener("change", calm);
  return {
    ...{ buttons, go, start, restart },
    paint: () => figure.paint(0),
    /** @param {boolean} seen */
    see(seen) {
      visible = seen;
      if (visible && playing) go();
    },
    end() {
      playing = false;
      still.removeEventListener("change", calm);
    },
  };
}

/**
 * Put the live figure in the static one's place, draw it anew when its size or the theme changes and
 * for paper, and say when it goes out of sight; returns how to stop that.
 * @param {HTMLElement} section
 * @param {(HTMLElement | string)[]} parts
 * @param {HTMLElement} sized
 * @param {{ paint: () => void, see?: (seen: boolean) => void }} on
 */
export function place(section, parts, sized, { paint, see = () => {} }) {
  section.querySelector(".ec-static")?.replaceWith(...parts);
  section.dataset.live = "true";
  // a busy page is told of several changes at once: the last one counts
  const seen = new IntersectionObserver((changes) => see(changes[changes.length - 1].isIntersecting));
  seen.observe(section);
  const size = new ResizeObserver(() => requestAnimationFrame(paint));
  size.observe(sized);
  const theme = new MutationObserver(paint); // at once: a page that is to be printed turns light
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const lab = ["data-jp-theme-light", "data-jp-theme-name"]; // JupyterLab's
  theme.observe(document.body, { attributeFilter: lab });
  const left = new AbortController();
  const { signal } = left;
  for (const system of ["(prefers-color-scheme: dark)", "(forced-colors: active)"])
    matchMedia(system).addEventListener("change", paint, { signal });
  // no observer hears of paper, and pictures would be stretched to it
  const fit = (/** @type {string} */ maxWidth) => () => {
    Object.assign(section.style, { maxWidth, boxSizing: maxWidth && "content-box" });
    paint();
  };
  addEventListener("beforeprint", fit(PAPER), { signal });
  addEventListener("afterprint", fit(""), { signal });
  return () => {
    [seen, size, theme].forEach((observer) => observer.disconnect());
    left.abort();
  };
}

/**
 * Do something once, when so much of an element is in view; returns how to give up waiting.
 * @param {Element} element
 * @param {number} share of its area; at 0 its edge is enough
 * @param {() => unknown} act
 * @param {string} ahead how far from the view is near enough
 */
export function whenSeen(element, share, act, ahead = "0px") {
  const look = (/** @type {IntersectionObserverEntry[]} */ changes) => {
    if (!changes.some((at) => at.isIntersecting && at.intersectionRatio >= share)) return;
    seen.disconnect();
    act();
  };
  const seen = new IntersectionObserver(look, { threshold: share, rootMargin: ahead });
  seen.observe(element);
  return () => seen.disconnect();
}

/**
 * Mount a page's figures of that name, each before it comes into view, so that nothing moves there:
 * until then nothing is loaded. A notebook has this done anew by each widget, and its figures may be
 * open by then.
 * @param {string} name
 * @param {(section: HTMLElement) => unknown} mount
 */
export function mountInView(name, mount) {
  if (!globalThis.document) return;
  const all = document.querySelectorAll(`.ec-training[data-figure=${name}]`);
  for (const section of /** @type {NodeListOf<HTMLElement>} */ (all))
    whenSeen(section, 0, () => section.dataset.opened || mount(section), "0px 0px 50%");
}
