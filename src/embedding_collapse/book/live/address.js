// A figure's state in the page's address, as `?collapse=few:2,many:100`, so that it can be shared.

const LONGEST = 40; // letters of what is refused

/**
 * @typedef {{ name: string, label: string, options: (number | string)[] }} Slider
 * @typedef {Record<string, any>} State one of each slider's options
 */

// An option as the address has it: commas part the sliders there.
const coded = (/** @type {number | string} */ option) => String(option).replaceAll(",", ";");

/**
 * The state that an address asks for, and the first thing that it asks for in vain, in words.
 * @param {string} search the address from its question mark on
 * @param {string} name of the figure
 * @param {Slider[]} sliders
 * @param {State} start
 */
export function readState(search, name, sliders, start) {
  const state = { ...start };
  let [refused, more] = ["", 0];
  const asked = new URLSearchParams(search).get(name);
  for (const part of asked ? asked.split(",") : []) {
    const [key, ...value] = part.split(":");
    const slider = sliders.find((each) => each.name === key);
    const option = slider?.options.find((option) => coded(option) === value.join(":"));
    if (option !== undefined) state[key] = option;
    else if (refused) more++;
    else {
      const known = slider ? slider.options : sliders.map((each) => each.name);
      const shown = part.length > LONGEST ? `${part.slice(0, LONGEST)}…` : part;
      refused = `The address asks for “${shown}”; accepted: ${known.join(", ")}.`;
    }
  }
  if (more) refused += ` (${more} more such ${more > 1 ? "parts" : "part"}.)`;
  return { state, refused };
}

/**
 * The address's search part with that state in it, all else as it was.
 * @param {string} search
 * @param {string} name
 * @param {State} state
 */
export function writeState(search, name, state) {
  const others = search.replace(/^\?/, "").split("&").filter(Boolean);
  const kept = others.filter((part) => part.split("=")[0] !== name);
  const held = Object.entries(state).map(
    ([key, value]) => `${key}:${encodeURIComponent(coded(value))}`,
  );
  return `?${[...kept, `${name}=${held.join(",")}`].join("&")}`;
}

/**
 * Put a figure's state into the page's address, which then opens at the figure.
 * @param {string} name
 * @param {State} state
 * @param {string} id of the figure's section
 */
export function keepState(name, state, id) {
  try {
    history.replaceState(null, "", `${writeState(location.search, name, state)}#${id}`);
  } catch {
    // a page without an address of its own, a file's or some notebooks', has none to share
  }
}
