// Draws the book's figures. Each <div class="ec-figure"> holds a Plotly figure as JSON and nothing
// else, so that a stored notebook stays small; colours, size and controls are the page's business:
//  - a Plotly template gives the theme's colours, so a colour set in the figure stays as it is;
//  - menus and sliders become HTML controls, which a keyboard and a thumb can use;
//  - on a narrow screen panels stand one under another and the legend goes below.
// What it draws with is there for explorers.js too, as `embeddingFigures`.
(() => {
  "use strict";

  const NARROW = 600; // px of figure width
  const PAPER = 610; // px of figure width that a sheet of A4 leaves an explorer
  const TITLE = 16; // px, a figure's title
  const TEXT = 13; // px, all else
  const KEY = 48; // px of a legend's line before its text
  const CLEAR = "rgba(0,0,0,0)";
  const COLOURS = {
    light: { ink: "#24292f", muted: "#6b7280", grid: "#e1e4e8", line: "#9aa1a9", card: "#ffffff" },
    dark: { ink: "#d5dbe1", muted: "#9ca4af", grid: "#333a44", line: "#6b7480", card: "#22272e" },
  };
  const COLORWAY = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C"];
  // A legend that lies flat: under the plot, where no title is.
  const BELOW = {
    ...{ orientation: "h", x: 0, xanchor: "left" },
    ...{ y: 0, yanchor: "bottom", yref: "container" },
  };
  // A picture to keep is for paper: the light theme on white, under the figure's name.
  const toImage = {
    name: "toImage",
    title: "Download plot as a PNG",
    icon: window.Plotly?.Icons.camera, // where Plotly failed to load, each box says so
    click(plot) {
      const paper = { template: template("light"), paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff" };
      const { width, height } = plot._fullLayout;
      const label = plot.closest(".ec-figure").getAttribute("aria-label");
      const words = label?.match(/[a-z0-9]+/gi) ?? ["figure"];
      const filename = words.slice(0, 8).join("-").toLowerCase();
      const figure = { data: plot.data, layout: { ...plot.layout, ...paper } };
      return Plotly.downloadImage(figure, { format: "png", width, height, filename });
    },
  };
  const CONFIG = {
    displaylogo: false,
    modeBarButtons: [[toImage, "resetScale2d"]],
    responsive: false, // a ResizeObserver does it, and sees the sidebar open as well
    typesetMath: false, // the page's MathJax has no SVG output, and Plotly would fetch it
  };
  const NARROW_CONFIG = { ...CONFIG, displayModeBar: false }; // it would cover the title

  const darkScreen = matchMedia("(prefers-color-scheme: dark)");
  const forced = matchMedia("(forced-colors: active)"); // the system's own

  function theme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen in COLOURS && !forced.matches ? chosen : darkScreen.matches ? "dark" : "light";
  }

  function template(name) {
    const colour = COLOURS[name];
    const axis = {
      gridcolor: colour.grid,
      zerolinecolor: colour.line,
      linecolor: colour.line,
      tickcolor: colour.line,
      automargin: true,
      title: { standoff: 8 },
    };
    const colorbar = { thickness: 14, outlinewidth: 0, tickcolor: colour.line };
    return {
      layout: {
        font: { family: getComputedStyle(document.body).fontFamily, size: TEXT, color: colour.ink },
        title: {
          font: { size: TITLE },
          ...{ x: 0, xref: "paper", y: 1, yref: "container", yanchor: "top", pad: { t: 14 } },
        },
        paper_bgcolor: CLEAR,
        plot_bgcolor: CLEAR,
        colorway: COLORWAY,
        colorscale: { sequential: "Viridis", sequentialminus: "Viridis" },
        xaxis: axis,
        yaxis: axis,
        coloraxis: { colorbar },
        legend: { bgcolor: CLEAR },
        hoverlabel: { bgcolor: colour.card, bordercolor: colour.line, font: { color: colour.ink } },
        modebar: { bgcolor: CLEAR, color: colour.muted, activecolor: colour.ink },
        annotationdefaults: { arrowcolor: colour.muted },
        shapedefaults: { line: { color: colour.muted } },
      },
      data: { heatmap: [{ colorbar }] },
    };
  }

  // Room above the plot for the title's lines and the panels' titles.
  const linesOf = (text) => (text ? text.split("<br>").length : 0);
  const titleHeight = ({ title }) => (title?.text ? 12 + linesOf(title.text) * TITLE * 1.35 : 0);
  function headroom(layout) {
    const titles = (layout.annotations ?? []).filter((note) => note.yref === "paper");
    const most = Math.max(0, ...titles.map((note) => linesOf(note.text)));
    return titleHeight(layout) + (most ? 10 + most * 20 : 12);
  }

  // --- Narrow screens -------------------------------------------------------------------------

  // Plotly does not wrap text; 0.6 em is about the width of a letter.
  function wrap(text, width, size) {
    const room = Math.floor(width / (size * 0.6));
    const lines = [""];
    for (const word of text.split(" ")) {
      const last = lines.length - 1;
      const longer = `${lines[last]} ${word}`.trim();
      if (lines[last] && longer.length > room) lines.push(word);
      else lines[last] = longer;
    }
    return lines.join("<br>");
  }

  const axisKey = (id) => id.replace(/^[xy]/, "$&axis"); // "x2" names layout.xaxis2

  // The panels of a figure, in reading order; none where two panels share an axis object.
  function panels({ data, layout }) {
    const found = new Map();
    for (const trace of data) {
      const ids = [trace.xaxis ?? "x", trace.yaxis ?? "y"];
      const [x, y] = ids.map((id) => layout[axisKey(id)]?.domain ?? [0, 1]);
      found.set(ids.join(), { ids, x, y });
    }
    const all = [...found.values()];
    const axes = new Set(all.flatMap((panel) => panel.ids));
    if (axes.size < 2 * all.length) return [];
    return all.sort((a, b) => b.y[1] - a.y[1] || a.x[0] - b.x[0]);
  }

  // A grid names its quantities once, at its left and lower edges. A panel that is to stand alone
  // takes the name from there, if its axis is of the same kind.
  function nameAxes(all, layout) {
    const axisOf = ({ ids }, isY) => (layout[axisKey(ids[isY])] ??= {});
    for (const panel of all) {
      const row = all.filter(({ y }) => y[1] === panel.y[1]);
      const column = all.filter(({ x }) => x[0] === panel.x[0]).reverse();
      [[...column, ...all], row].forEach((others, isY) => {
        const axis = axisOf(panel, isY);
        const gives = ({ title, type, tickformat }) =>
          title?.text && type === axis.type && tickformat === axis.tickformat;
        const axes = others.map((other) => axisOf(other, isY));
        if (!axis.title?.text) axis.title = axes.find(gives)?.title;
      });
    }
  }

  // Give every panel the whole width, one under another, and take its titles along.
  function stack(figure, all, height, gap) {
    const { data, layout } = figure;
    nameAxes(all, layout);
    const total = all.length * (height + gap) - gap;
    all.forEach((panel, row) => {
      const top = 1 - (row * (height + gap)) / total;
      panel.domain = [Math.max(0, top - height / total), top];
      panel.ids.forEach((id, isY) => {
        const axis = layout[axisKey(id)];
        axis.domain = isY ? panel.domain : [0, 1];
        if (axis.matches || axis.showticklabels === false) axis.showticklabels = true;
      });
    });
    const inside = (value, [from, to]) => value >= from - 1e-6 && value <= to + 1e-6;
    for (const note of layout.annotations ?? []) {
      const home = all.find((panel) => inside(note.x, panel.x) && inside(note.y, panel.y));
      if (note.xref !== "paper" || note.yref !== "paper" || !home) continue;
      const [[x0, x1], [y0, y1], [to0, to1]] = [home.x, home.y, home.domain];
      note.x = (note.x - x0) / (x1 - x0);
      note.y = to0 + ((note.y - y0) / (y1 - y0)) * (to1 - to0);
    }
    const bars = data.filter((trace) => trace.colorbar && trace.showscale !== false);
    for (const trace of bars.length > 1 ? bars : []) {
      const [from, to] = all.find((panel) => panel.ids[1] === (trace.yaxis ?? "y")).domain;
      Object.assign(trace.colorbar, { x: 1.02, y: (from + to) / 2, len: to - from });
    }
    return total;
  }

  // Names beside the plot take half of the width at most, titles below it no more than all of it.
  // Returns the height that a panel's names need.
  function wrapAxes({ data, layout }, width) {
    let most = 0;
    for (const { y, yaxis = "y" } of data) {
      if (typeof y?.[0] !== "string") continue;
      const axis = (layout[axisKey(yaxis)] ??= {});
      axis.tickvals = [...new Set([...(axis.tickvals ?? []), ...y])];
      axis.ticktext = axis.tickvals.map((name) => wrap(name, 0.5 * width, TEXT));
      const lines = axis.ticktext.map(linesOf);
      most = Math.max(most, lines.length * Math.max(...lines) * TEXT * 1.35);
    }
    for (const [name, { title }] of Object.entries(layout).filter(([key]) => /^xaxis/.test(key)))
      if (title?.text) layout[name].title = { ...title, text: wrap(title.text, width - 80, TEXT) };
    return most;
  }

  // The room that a flat legend of more than one entry takes, its names wrapped to the width.
  function legendHeight({ data, layout }, width) {
    for (const trace of data) if (trace.name) trace.name = wrap(trace.name, width - KEY, TEXT);
    const shown = (trace) => (trace.visible ?? true) === true && trace.showlegend !== false;
    const names = data.filter(shown).map(({ name = "" }) => name.split("<br>"));
    if (layout.showlegend === false || names.length < 2) return 0;
    const longest = Math.max(...names.flat().map((line) => line.length));
    const perLine = Math.max(1, Math.floor((width - KEY) / (KEY + longest * TEXT * 0.6)));
    return 22 * Math.ceil(names.length / perLine) * Math.max(...names.map((lines) => lines.length));
  }

  function narrow(figure, width, height) {
    const { data, layout } = figure;
    const all = panels(figure);
    const rows = new Set(all.map((panel) => panel.y[1])).size;
    const least = wrapAxes(figure, width);
    if (all.length > rows) {
      const each = Math.max(least, Math.min(280, Math.max(220, height / rows - 80)));
      const named = data.some(({ x }) => typeof x?.[0] === "string"); // names stand upright
      height = stack(figure, all, each, named ? 125 : 90) + 110;
    }
    if (layout.title?.text) {
      const text = wrap(layout.title.text, width - 8, TITLE);
      Object.assign(layout.title, { text, xref: "container" });
    }
    layout.margin = { l: 8, r: 16, b: 8, t: headroom(layout) }; // r: half the last tick's label
    layout.dragmode = false; // a finger on the plot scrolls the page
    const legend = legendHeight(figure, width);
    height += legend;
    layout.legend = { ...layout.legend, ...BELOW, tracegroupgap: 0 };
    if (all.length > 2 && legend) {
      Object.assign(layout.legend, { y: 1 - titleHeight(layout) / height, yanchor: "top" });
      layout.margin.t += legend;
    }
    return height;
  }

  // Words that would run out of the figure are moved in.
  function pullIn(plot) {
    const edge = plot.getBoundingClientRect().right;
    const moved = {};
    for (const words of plot.querySelectorAll(".annotation")) {
      const beyond = words.getBoundingClientRect().right - edge;
      if (beyond > 0) moved[`annotations[${words.dataset.index}].xshift`] = -Math.ceil(beyond);
    }
    return Object.keys(moved).length && Plotly.relayout(plot, moved);
  }

  // --- Controls -------------------------------------------------------------------------------

  function element(tag, properties, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      // as attributes: Firefox has these properties since version 119 only
      if (/^(role$|aria)/.test(name))
        made.setAttribute(name.replace("aria", "aria-").toLowerCase(), value);
      else made[name] = value;
    }
    made.append(...children);
    return made;
  }

  // What fails in one box is told there, and keeps no other from its turn.
  function complain(box, error) {
    console.error(error);
    if (box.getAttribute("role") === "img") box.setAttribute("role", "group"); // an image holds no text
    const notice =
      box.querySelector(":scope > .ec-fault") ??
      box.appendChild(element("p", { className: "ec-notice ec-fault", role: "status" }));
    notice.textContent = `This could not be drawn (${error?.message ?? error}).`;
  }
  function attempt(box, act) {
    try {
      act();
    } catch (error) {
      complain(box, error);
    }
  }

  // Of a label, in which Plotly takes some of HTML for markup, what it shows.
  const plain = (label) => new DOMParser().parseFromString(label, "text/html").body.textContent;

  // A slider over texts, and a function that shows one of them, by number.
  function makeSlider(properties, label, texts, turn) {
    const input = element("input", { type: "range", min: 0, max: texts.length - 1, ...properties });
    const value = element("span", { className: "ec-value", ariaHidden: "true" });
    // room for the longest of the texts, or what stands beside it would move
    value.style.minWidth = `${Math.max(...texts.map((text) => text.length))}ch`;
    const show = (at) => {
      input.value = at;
      value.textContent = texts[input.value];
      input.setAttribute("aria-valuetext", value.textContent);
    };
    input.oninput = () => (show(input.value), turn(input.value));
    return [element("label", {}, label, input, value), show];
  }

  // Each gives its element and a function that brings the plot in line with it.

  function menu(plot, { buttons, active, name }) {
    const options = buttons.map((button) => element("option", {}, plain(button.label)));
    const select = element("select", {}, ...options);
    select.selectedIndex = active;
    select.onchange = () => Plotly.restyle(plot, ...buttons[select.selectedIndex].args);
    return [element("label", {}, name, select), select.onchange];
  }

  function slider(plot, { steps, active, name: label }) {
    let at = active;
    const apply = () => Plotly.restyle(plot, ...steps[at].args);
    const texts = steps.map((step) => plain(step.label));
    const [box, show] = makeSlider({}, label, texts, (turned) => ((at = turned), apply()));
    show(at);
    return [box, apply];
  }

  // --- Drawing --------------------------------------------------------------------------------

  async function draw(figure, plot, controls, made, width, minHeight, again) {
    const { layout } = figure;
    const { updatemenus = [], sliders = [] } = layout;
    delete layout.updatemenus;
    delete layout.sliders;
    let height = layout.height ?? minHeight;
    layout.margin = { l: 56, r: 24, b: 48, ...layout.margin, t: headroom(layout) };
    if (layout.legend?.orientation === "h") Object.assign(layout.legend, BELOW);
    if (width < NARROW) height = narrow(figure, width, height);
    Object.assign(layout, { height, autosize: true, template: template(theme()) });
    const config = width < NARROW ? NARROW_CONFIG : CONFIG;
    await Plotly[again ? "react" : "newPlot"](plot, { ...figure, config });
    if (width < NARROW) await pullIn(plot);
    if (again) return;
    for (const [, apply] of made) await apply(); // the reader's choice, at another width
    if (made.length) return;
    made.push(
      ...updatemenus.map((each) => menu(plot, each)),
      ...sliders.map((each) => slider(plot, each)),
    );
    controls.append(...made.map(([each]) => each));
  }

  // Draw in a box what `read` gives, anew at another width; the function returned draws it anew
  // because it has changed.
  function mount(box, read) {
    const plot = element("div", { className: "ec-plot" });
    const controls = element("div", { className: "ec-controls" });
    box.append(controls, plot);
    const made = []; // controls, once it is drawn
    let drawn = 0; // the width of the last drawing; 0 before the first
    let changed = false;
    let queue = Promise.resolve();
    plots.push(plot);

    async function fit() {
      const width = box.clientWidth;
      if (!width || (width === drawn && !changed)) return; // hidden, or only the height changed
      const again = changed && drawn && width < NARROW === drawn < NARROW;
      const redraw = changed || !drawn || width < NARROW !== drawn < NARROW;
      drawn = width;
      changed = false;
      if (!redraw) return Plotly.Plots.resize(plot);
      const minHeight = parseInt(box.style.minHeight) || 420;
      await draw(read(), plot, controls, made, width, minHeight, again);
      box.querySelector(":scope > .ec-fault")?.remove();
      box.setAttribute("role", "group"); // an image may hold no controls, and Plotly's buttons are some
      box.dataset.drawn = "true";
    }
    // what could not be drawn must not keep the next drawing from its turn
    const later = () => (queue = queue.then(fit).catch((error) => complain(box, error)));
    new ResizeObserver(later).observe(box);
    return () => ((changed = true), later());
  }

  const plots = [];
  for (const box of document.querySelectorAll(".ec-figure"))
    attempt(box, () => {
      const json = box.querySelector("script").textContent;
      mount(box, () => JSON.parse(json));
    });

  function recolour() {
    for (const plot of plots)
      if (plot.layout) Plotly.relayout(plot, { template: template(theme()) });
  }
  new MutationObserver(recolour).observe(document.documentElement, {
    attributeFilter: ["data-theme"],
  });
  darkScreen.addEventListener("change", recolour);
  forced.addEventListener("change", recolour);

  // Paper is narrower than most windows, and no observer hears of it.
  function give(plot, width) {
    plot.style.width = width;
    Plotly.relayout(plot, { autosize: true });
  }
  addEventListener("beforeprint", () => {
    for (const plot of plots)
      if (plot.layout && plot.clientWidth > PAPER) give(plot, `${PAPER}px`);
  });
  addEventListener("afterprint", () => {
    for (const plot of plots) if (plot.style.width) give(plot, "");
  });

  window.embeddingFigures = { attempt, element, makeSlider, mount };
})();
