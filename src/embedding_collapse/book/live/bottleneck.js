// A bottleneck to hold: two fields interact by the inner products of their rows, and the second's
// table is narrowed by hand. No singular value of the product exceeds the largest of one table times
// the same one of the other.

import * as draw from "./draw.js";
import { PICTURE, element, makeTable, mountInView, open, place } from "./figure.js";
import { product } from "./product.js";
import { abundance } from "./spectrum.js";

/**
 * Put the live figure in the static one's place; returns how to end it.
 * @param {HTMLElement} section
 */
export async function mount(section) {
  const held = open(section, show);
  const { colours, width } = held.content;
  const names = ["E₁, free", "E₂, held", "E₁E₂ᵀ, every pair"];
  const panels = names.map((name, i) => {
    const bars = element("canvas", { ...PICTURE, className: "ec-bars" });
    const title = element("p", { className: "ec-run" }, name);
    title.style.setProperty("--ec-run", colours[i]);
    return { bars, title, box: element("div", {}, title, bars) };
  });
  const table = makeTable(["", "rank", "IA", "largest singular value", "smallest"]);

  function drawn() {
    const { rank, rest, seed } = held.state;
    const { one, two, before, both, bound } = product({ width, rank, rest, seed });
    return [
      { now: one, ticks: one },
      { now: two, ticks: before },
      { now: both, ticks: bound },
    ];
  }

  function paint() {
    drawn().forEach((what, i) => {
      const most = Math.max(what.now[0], what.ticks[0]);
      const look = { most, colour: colours[i], title: "singular values" };
      draw.bars(draw.sheet(panels[i].bars), { ...what, ...look });
    });
  }

  function show() {
    paint();
    const shown = drawn();
    table.fill(
      shown.map(({ now }, i) => {
        const rank = now.filter((value) => value > 1e-6 * now[0]).length;
        const ends = [now[0], now[now.length - 1]].map((value) => value.toFixed(1));
        return [names[i], `${rank}`, abundance(now).toFixed(2), ...ends];
      }),
    );
    shown.forEach(({ now, ticks }, i) => {
      const values = Array.from(now, (value) => value.toFixed(1)).join(", ");
      const bounds = Array.from(ticks, (value) => value.toFixed(1)).join(", ");
      const mark = ["", `; as it was drawn: ${bounds}`, `; at most: ${bounds}`][i];
      const told = `Singular values of ${names[i]}: ${values}${mark}`;
      panels[i].bars.setAttribute("aria-label", told);
    });
    const [one, two, both] = shown.map(({ now }) => abundance(now).toFixed(2));
    held.status.textContent = `IA ${one} and ${two}; of the product ${both}.`;
  }

  const boxes = element("div", { className: "ec-runs ec-three ec-stacked" }, ...panels.map(({ box }) => box));
  const key = element("p", { className: "ec-key" }, "Lines: E₂ as it was drawn; the product’s bound, σ₁(E₁) σₖ(E₂)."); // prettier-ignore
  const controls = element("div", { className: "ec-controls" }, ...held.controls);
  const parts = [held.notice, controls, boxes, key, table.box, held.status];
  const leave = place(section, parts, panels[0].bars, { paint });
  show();
  return leave;
}

mountInView("bottleneck", mount);
