// The book's explorers without a kernel. Each <section class="ec-explorer"> holds, as JSON, what
// `embedding_collapse.book.explorers` states of it: controls, data, styles, layout. Here are the views,
// each the twin of the Python function of its name: from data and state to
//  - marks, what is drawn: numbers, and under `like` the name of a style;
//  - readout, a table of text whose first row is the head;
//  - layout, what differs from the explorer's own.
// A test in a browser holds the twins to the same numbers.
(() => {
  "use strict";

  const { attempt, element, makeSlider, mount } = window.embeddingFigures;
  const { keepState, readState } = window.embeddingAddress;
  const STILL = 200; // milliseconds without a change before the address has the state

  // --- Numbers --------------------------------------------------------------------------------

  const UP = 1e-9; // takes a tie up, whatever the last bit of a sum is; its twin adds it too
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;
  const range = (length) => Array.from({ length }, (_, i) => i);
  const commas = (number) => number.toLocaleString("en-US");
  const signed = (number, digits) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(digits);

  const informationAbundance = (spectrum) => sum(spectrum) / (Math.max(...spectrum) || 1);
  const stableRank = (spectrum) => {
    const largest = Math.max(...spectrum) || 1;
    return sum(spectrum.map((value) => (value / largest) ** 2));
  };
  const effectiveRank = (spectrum) => {
    const total = sum(spectrum);
    if (!total) return 0;
    const shares = spectrum.map((value) => value / total).filter((share) => share > 0);
    return Math.exp(-sum(shares.map((share) => share * Math.log(share))));
  };
  // How many directions hold that share of the sum of squares.
  const directions = (spectrum, energy) => {
    const squares = spectrum.map((value) => value ** 2).sort((a, b) => b - a);
    let held = 0;
    const sums = squares.map((square) => (held += square));
    return held && sums.findIndex((part) => part >= energy * held * (1 - 1e-12)) + 1;
  };

  // Numbers from 0 to 1 that lie in the page as 16 bits each, in base 64.
  const decoded = new Map();
  function unpacked(text) {
    if (!decoded.has(text)) {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      const level = (_, i) => view.getUint16(2 * i, true) / 65535;
      decoded.set(text, Array.from({ length: bytes.length / 2 }, level));
    }
    return decoded.get(text);
  }
  const rows = (values, width) =>
    range(values.length / width).map((row) => values.slice(row * width, (row + 1) * width));

  // --- Views ----------------------------------------------------------------------------------

  const views = {
    sizing({ features, vocabulary: [few, many], practice: [low, high], criteo, language }, state) {
      const { D, eps } = state;
      const least = (size) => Math.ceil((8 * Math.log(size)) / eps ** 2);
      const chosen = least(D);
      const marks = [
        { like: "practice", x: [few, many, many, few], y: [low, low, high, high] },
        {
          ...{ like: "bound", name: `K = 8 ε⁻² ln D, ε = ${eps}` },
          ...{ x: features, y: features.map(least) },
        },
        { like: "criteo", ...criteo },
        { like: "language", ...language },
        { like: "chosen", x: [D], y: [chosen], text: ["your choice"] },
      ];
      const head = ["D", "ε", "K must be at least", `as a multiple of ${high}`];
      const told = [commas(D), `${eps}`, commas(chosen), (chosen / high).toFixed(1)];
      return { marks, readout: [head, told] };
    },

    spectrum({ datasets, runs, models }, state) {
      const marks = [];
      const energy = ["directions for 90% of the energy", "for 99%"];
      const head = ["", "IA", "IA / K", "IA against random", "effective rank", ...energy];
      const columns = [head];
      for (const shown of [state, state.pinned].filter(Boolean)) {
        const { fields, random } = datasets[shown.dataset];
        const { sets, width, shares } = runs[`${shown.dataset} ${shown.model} ${shown.run}`];
        const all = rows(unpacked(shares), width);
        const spectra = all.slice(shown.field * sets, (shown.field + 1) * sets);
        const name = `${models[shown.model]} ${shown.run}, ${fields[shown.field]}`;
        const numbers = range(width).map((k) => k + 1);
        const places = { x: numbers.map((k) => k / width), customdata: numbers };
        spectra.forEach((values, m) =>
          marks.push({
            like: shown.run.split(" ")[0] + (shown === state ? "" : " pinned"),
            name: m === 0 ? name : `${name}, set ${m + 1}`,
            ...{ legendgroup: name, showlegend: m === 0 },
            ...{ y: values, ...places },
          }),
        );
        const chance = rows(unpacked(random[width]), width)[shown.field];
        if (shown === state) {
          const name = `a random table, K = ${width}`;
          marks.push({ like: "random", name, y: chance, ...places });
        }
        const over = (measure) => mean(spectra.map(measure));
        const abundance = over(informationAbundance);
        columns.push([
          `${shown.dataset}, ${name}${sets > 1 ? ", mean of its sets" : ""}`,
          `${abundance.toFixed(2)} of ${width}`,
          (abundance / width).toFixed(3),
          (abundance / informationAbundance(chance)).toFixed(3),
          over(effectiveRank).toFixed(2),
          ...[0.9, 0.99].map((share) => over((each) => directions(each, share)).toFixed(2)),
        ]);
      }
      return { marks, readout: head.map((_, row) => columns.map((column) => column[row])) };
    },

    bend({ width, measures }, state) {
      const numbers = range(width).map((k) => `${k + 1}`);
      const values = numbers.map((k) => state[`s${k}`]);
      const counts = [informationAbundance, effectiveRank, stableRank].map((count) => count(values));
      const marks = [
        { like: "values", x: numbers, y: values },
        { like: "measures", x: measures, y: counts },
      ];
      const head = [...measures, "for 90% of the energy", "for 99%"];
      const energy = [0.9, 0.99].map((share) => `${directions(values, share)}`);
      return { marks, readout: [head, [...counts.map((count) => (count + UP).toFixed(2)), ...energy]] };
    },

    sub_embeddings({ datasets, runs }, state) {
      const { fields: names, cardinalities } = datasets[state.dataset];
      const run = runs[`${state.dataset} ${state.run}`];
      const [number, m] = [names.length, state.set - 1];
      const own = rows(unpacked(run.own), number)[m];
      const pairs = rows(unpacked(run.pairs), number).slice(m * number, (m + 1) * number);
      const by = state.sort === "IA" ? own : cardinalities;
      const order = range(number).sort((a, b) => by[a] - by[b]);
      const sorted = order.map((k) => names[k]);
      const told = (i) =>
        `${names[i]} (${commas(cardinalities[i])} features, IA/K ${own[i].toFixed(3)})`;
      const cell = (i, j) => `of ${told(i)}<br>for ${told(j)}<br>IA/K ${pairs[i][j].toFixed(3)}`;
      const [i, j] = [state.of, state.for];
      const marks = [
        {
          ...{ like: "pairs", x: sorted, y: sorted },
          z: order.map((row) => order.map((column) => pairs[row][column])),
          text: order.map((row) => order.map((column) => cell(row, column))),
        },
        { like: "chosen", x: [names[j]], y: [names[i]] },
      ];
      const head = ["of field i", "made for field j", "IA/K of this one", "mean of its row"];
      const column = mean(pairs.map((row) => row[j]));
      const values = [pairs[i][j], mean(pairs[i]), column].map((value) => value.toFixed(3));
      return { marks, readout: [[...head, "of its column"], [told(i), told(j), ...values]] };
    },

    projection({ choices: [tables, factors, favours], ...spectra }, state) {
      const [table, factor, favoured] = [
        tables.indexOf(state.table),
        factors.indexOf(state.factor),
        favours.indexOf(state.favours),
      ];
      const shown = {
        table: ["table E", spectra.tables, table],
        projection: ["projection W", spectra.projections, factor],
        seen: [
          "sub-embedding E Wᵀ",
          spectra.seen,
          (table * factors.length + factor) * favours.length + favoured,
        ],
      };
      const width = unpacked(spectra.tables).length / tables.length;
      const marks = [];
      const readout = [["", "IA", "IA/K"]];
      for (const [like, [name, values, row]] of Object.entries(shown)) {
        const spectrum = rows(unpacked(values), width)[row];
        marks.push({ like, name, x: range(width).map((k) => k + 1), y: spectrum });
        const abundance = informationAbundance(spectrum);
        const counts = [abundance, abundance / width].map((count) => (count + UP).toFixed(2));
        readout.push([name, ...counts]);
      }
      return { marks, readout };
    },

    toy({ third: thirds, widths, seeds, steps, shares }, { third, width, seed }) {
      const marks = [];
      const readout = [["", "IA(E₁) at the start", "at the end", "change"]];
      const [k, s] = [widths.indexOf(width), seeds.indexOf(seed)];
      const curves = rows(unpacked(shares), steps.length);
      for (const [size, like] of [[thirds.at(-1), "most"], [third, "chosen"]]) {
        const curve = (thirds.indexOf(size) * widths.length + k) * seeds.length + s;
        const values = curves[curve].map((share) => share * width);
        const name = `D₃ = ${size}, K = ${width}, seed ${seed}`;
        marks.push({ like, name, x: steps, y: values });
        const [first, last] = [values[0], values.at(-1)];
        readout.push([name, first.toFixed(2), last.toFixed(2), signed(last - first, 2)]);
      }
      return { marks, readout };
    },

    scaling({ curves }, state) {
      const marks = [];
      const titles = [];
      const readout = [["95% intervals", "at 1x", "at the largest size", "change"]];
      const reached = (reach) => (reach === null ? "" : ` ± ${reach.toFixed(5)}`);
      [state.left, state.right].forEach((dataset, panel) => {
        const place = panel ? { xaxis: "x2", yaxis: "y2" } : {};
        for (const design of state.design.split(" ")) {
          const { scale, mean: means, reach, runs } = curves[dataset][state.model][design];
          const sure = range(scale.length).filter((i) => reach[i] !== null);
          const back = [...sure].reverse();
          marks.push({
            ...{ like: `${design} band`, ...place },
            x: [...sure, ...back].map((i) => scale[i]),
            y: [...sure.map((i) => means[i] - reach[i]), ...back.map((i) => means[i] + reach[i])],
          });
          marks.push({
            ...{ like: design, ...place, x: scale, y: means, showlegend: panel === 0 },
            text: reach.map((each, i) =>
              each === null ? "" : `${reached(each).trim()} (95%, ${runs[i]} runs)`,
            ),
          });
          readout.push([
            `${dataset}, ${design}`,
            means[0].toFixed(5) + reached(reach[0]),
            `${scale.at(-1)}x: ${means.at(-1).toFixed(5)}${reached(reach.at(-1))}`,
            signed(means.at(-1) - means[0], 5),
          ]);
        }
        titles.push({
          ...{ text: dataset, x: [0.22, 0.79][panel], y: 1, xref: "paper", yref: "paper" },
          ...{ xanchor: "center", yanchor: "bottom", showarrow: false },
        });
      });
      return { marks, readout, layout: { annotations: titles } };
    },
  };

  // Text that Plotly draws as it stands, save for line breaks: it may hold somebody's name of a field.
  const asText = (text) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  function withoutMarkup(value) {
    if (typeof value === "string") return value.split("<br>").map(asText).join("<br>");
    if (Array.isArray(value)) return value.map(withoutMarkup);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, withoutMarkup(part)]));
  }

  // --- States ---------------------------------------------------------------------------------

  const choices = ({ options, by }, state) => (by ? options[state[by]] : options);
  const turned = (controls) => controls.filter(({ kind }) => ["choice", "slider"].includes(kind));

  // The state that the page's address asks for, and what it asks for in vain. What is pinned is not
  // in it: that is the pin of the step with these settings, or none.
  function addressed(name, controls, states) {
    const offered = (state) => (control) => {
      return { name: control.name, options: choices(control, state).map(([value]) => value) };
    };
    const read = (state) =>
      readState(location.search, name, turned(controls).map(offered(state)), states[0]);
    // twice: what some controls offer depends on what another is asked for
    const { state: asked, refused } = read(read(states[0]).state);
    const state = fitted(controls, asked);
    const held = turned(controls).map(({ name }) => name);
    const step = states.find((each) => held.every((name) => each[name] === state[name]));
    for (const { name } of controls.filter(({ kind }) => kind === "pin"))
      state[name] = step?.[name] ?? null;
    return { state, refused };
  }

  // Of what depends on another control, the last option where the state's is none there.
  function fitted(controls, state, by) {
    const next = { ...state };
    for (const other of controls.filter((each) => each.by && (!by || each.by === by))) {
      const values = choices(other, next).map(([option]) => option);
      if (!values.includes(next[other.name])) next[other.name] = values.at(-1);
    }
    return next;
  }

  // The state after one control was turned, as `Explorer.changed` has it.
  function changed(controls, state, { kind, name }, value) {
    if (kind === "presets") return { ...state, ...value };
    if (kind === "pin") {
      const { [name]: _, ...copy } = state;
      return { ...state, [name]: value ? copy : null };
    }
    return fitted(controls, { ...state, [name]: value }, name);
  }

  // --- Controls -------------------------------------------------------------------------------
  // Each is made once and gives its element and a function that brings it in line with a state.

  const makers = {
    choice(control, turn) {
      const select = element("select", { name: control.name });
      let shown = [];
      select.onchange = () => turn(shown[select.selectedIndex][0]);
      const settle = (state) => {
        if (shown !== choices(control, state)) {
          shown = choices(control, state);
          select.replaceChildren(...shown.map(([, text]) => element("option", {}, text)));
          select.disabled = shown.length < 2; // there is nothing to choose
        }
        select.selectedIndex = shown.findIndex(([value]) => value === state[control.name]);
      };
      return [element("label", {}, control.label, select), settle];
    },

    slider({ name, label, options }, turn) {
      const texts = options.map(([, text]) => text);
      const [box, show] = makeSlider({ name }, label, texts, (at) => turn(options[at][0]));
      return [box, (state) => show(options.findIndex(([option]) => option === state[name]))];
    },

    presets({ label, options }, turn) {
      const buttons = options.map(([value, text]) =>
        element("button", { type: "button", onclick: () => turn(value) }, text),
      );
      const group = element("span", { role: "group", ariaLabel: label }, ...buttons);
      return [element("div", {}, label, group), () => {}];
    },

    pin({ name, label }, turn) {
      let pinned;
      const button = element("button", { type: "button", name, onclick: () => turn(!pinned) });
      const settle = (state) => {
        pinned = state[name] !== null;
        button.textContent = pinned ? "Unpin" : label;
      };
      return [element("div", {}, button), settle];
    },
  };

  // --- Pointing at a figure -------------------------------------------------------------------
  // What it changes in the state to point at a category of the first panel, and at a height or, on a
  // map, at another category. All of it can be had from the controls too.

  const pointing = {
    bend: {
      hint: "Drag the bars, or use the sliders.",
      drags: true,
      change: (data, state, direction, height) => ({
        [`s${direction}`]: Math.round(20 * Math.min(1, Math.max(0, height))) / 20,
      }),
    },
    sub_embeddings: {
      hint: "Click a cell to choose its two fields.",
      drags: false,
      change({ datasets }, state, partner, field) {
        const drawn = datasets[state.dataset].fields.map(withoutMarkup);
        return { of: drawn.indexOf(field), for: drawn.indexOf(partner) };
      },
    },
  };

  const at = ({ type, _categories: names, p2c }, pixel) =>
    type === "category" ? names[Math.round(p2c(pixel))] : p2c(pixel);

  const SLIP = 6; // px that a hand may move in a click

  function makePointable(figure, { drags }, point) {
    let held = false;
    let down; // where the pointer went down
    const look = ({ clientX, clientY }) => {
      const plot = figure.querySelector(".ec-plot");
      const { xaxis, yaxis } = plot?._fullLayout ?? {};
      if (!xaxis) return;
      const { left, top } = plot.getBoundingClientRect();
      const [x, y] = [clientX - left - xaxis._offset, clientY - top - yaxis._offset];
      if (x < 0 || x > xaxis._length || (!held && (y < 0 || y > yaxis._length))) return;
      const place = [at(xaxis, x), at(yaxis, y)];
      if (!place.includes(undefined)) point(...place);
      return true;
    };
    figure.classList.toggle("ec-dragged", drags);
    const near = ({ clientX, clientY }) =>
      down && Math.hypot(clientX - down.clientX, clientY - down.clientY) < SLIP;
    const letGo = () => ([held, down] = [false, undefined]);
    figure.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      down = event;
      held = drags && (look(event) ?? false);
      if (held) event.preventDefault();
    });
    addEventListener("pointermove", (event) => held && look(event));
    // What is not dragged takes a click: a finger that scrolls, or a mouse that zooms, makes none.
    addEventListener("pointerup", (event) => {
      if (!drags && near(event)) look(event);
      letGo();
    });
    addEventListener("pointercancel", letGo);
  }

  // --- An explorer ----------------------------------------------------------------------------

  function table([head, ...body]) {
    const heads = head.map((text) => element("th", { scope: "col" }, text));
    const lines = body.map((row) =>
      element("tr", {}, ...row.map((text) => element("td", {}, text))),
    );
    return [element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines)];
  }

  // The steps stand in the page as a list. Here one is shown at a time, and `go` is told which. The
  // function returned is to hear of each new state whether it is still the one the step is about.
  function guide(list, at, go) {
    const items = [...list.children];
    const place = element("span", { role: "status" });
    function follow(kept) {
      items.forEach((item, i) => item.classList.toggle("ec-here", i === at));
      list.classList.toggle("ec-left", !kept);
      place.textContent = kept ? `Step ${at + 1} of ${items.length}` : "Your own setting";
      back.setAttribute("aria-disabled", !at); // disabled in earnest it would lose the focus
      next.setAttribute("aria-disabled", at === items.length - 1);
      restore.hidden = kept;
    }
    const button = (text, by) => {
      const press = () => items[at + by] && go((at += by));
      return element("button", { type: "button", onclick: press }, text);
    };
    const [back, next, restore] = [button("Back", -1), button("Next", 1), button("Return", 0)];
    restore.setAttribute("aria-label", "Return to the step");
    restore.addEventListener("click", () => next.focus()); // it is hidden by now
    list.setAttribute("aria-live", "polite");
    list.before(element("div", { className: "ec-tour" }, place, back, next, restore));
    return follow;
  }

  function explore(section) {
    const explorer = JSON.parse(section.querySelector("script").textContent);
    const { name, alt, controls, start, steps, data, styles, layout, height } = explorer;
    const figure = element("div", { className: "ec-figure", role: "img", ariaLabel: alt });
    figure.style.minHeight = `${height}px`;
    const readout = element("table", { className: "ec-readout" });
    const live = element("div", { className: "ec-live" }, readout);
    live.setAttribute("aria-live", "polite");
    const states = steps.length ? steps.map((change) => ({ ...start, ...change })) : [start];
    const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
    const asked = addressed(name, controls, states);
    const first = Math.max(0, states.findIndex((each) => same(each, asked.state)));
    let step = states[first];
    let state = asked.state;
    let view = views[name](data, state); // first: what fails leaves the page as it was
    let writing;
    const notice = element("p", { className: "ec-notice", role: "status" }, asked.refused);
    notice.hidden = !asked.refused;

    const enter = (next) => {
      state = next;
      notice.hidden = true;
      settle();
      draw();
      clearTimeout(writing);
      writing = setTimeout(write, STILL);
    };
    // So that a setting can be shared, and is there after a reload.
    function write() {
      const held = Object.fromEntries(turned(controls).map(({ name }) => [name, state[name]]));
      keepState(name, held, section.id);
    }
    const made = controls.map((control) =>
      makers[control.kind](control, (value) => enter(changed(controls, state, control, value))),
    );
    function settle() {
      for (const [, show] of made) show(state);
      follow(same(state, step));
      view = views[name](data, state);
      readout.replaceChildren(...table(view.readout));
    }
    const panel = element("div", { className: "ec-controls" }, ...made.map(([each]) => each));
    const list = section.querySelector(".ec-steps");
    const go = (number) => enter((step = states[number]));
    const follow = list ? guide(list, first, go) : () => {};
    settle();
    const pointed = pointing[name];
    if (pointed) {
      panel.append(element("span", { className: "ec-pointing" }, pointed.hint));
      makePointable(figure, pointed, (...place) =>
        enter({ ...state, ...pointed.change(data, state, ...place) }),
      );
    }
    section.querySelector(".ec-static").replaceWith(notice, panel, figure, live);
    const draw = mount(figure, () => ({
      data: view.marks.map(({ like, ...numbers }) => ({
        ...structuredClone(styles[like]),
        ...withoutMarkup(numbers),
      })),
      // drawing moves parts of it
      layout: structuredClone({ ...layout, ...withoutMarkup(view.layout ?? {}), height }),
    }));
  }

  for (const section of document.querySelectorAll(".ec-explorer"))
    attempt(section, () => explore(section));
  window.embeddingExplorers = { views };
})();
