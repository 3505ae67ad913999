import assert from "node:assert/strict";
import { test } from "node:test";

import { readState, writeState } from "../../src/embedding_collapse/book/live/address.js";

const sliders = [
  { name: "few", label: "D₃", options: [1, 2] },
  { name: "rate", label: "rate", options: [0.1, 1] },
];
const start = { few: 2, rate: 1 };

test("a state comes back from the address it was written to, beside what else is there", () => {
  const state = { few: 1, rate: 0.1 };
  const search = writeState("?highlight=toy&figure=few:2", "figure", state);
  assert.equal(search, "?highlight=toy&figure=few:1,rate:0.1");
  assert.deepEqual(readState(search, "figure", sliders, start), { state, refused: "" });
  assert.deepEqual(readState("?highlight=toy", "figure", sliders, start).state, start);
});

test("an option of any words comes back, those that mean something in an address too", () => {
  const options = ["criteo, the paper", "ME 4x, joined", "50% & more", "a+b #1:2"];
  const [one, other] = ["left", "right"].map((name) => ({ name, label: name, options }));
  for (const left of options) {
    const state = { left, right: options[0] };
    const search = writeState("?highlight=toy", "figure", state);
    assert.deepEqual(readState(search, "figure", [one, other], {}), { state, refused: "" });
  }
});

test("what cannot be is refused by name, the first of it, and the rest is taken", () => {
  const of = (/** @type {string} */ asked) => readState(`?figure=${asked}`, "figure", sliders, start);
  assert.deepEqual(of("few:7,many:1,rate:,few:1"), {
    state: { few: 1, rate: 1 },
    refused: "The address asks for “few:7”; accepted: 1, 2. (2 more such parts.)",
  });
  for (const [asked, told] of [
    ["many:1", "“many:1”; accepted: few, rate."],
    ["rate:", "“rate:”; accepted: 0.1, 1."],
    ["few:1:9", "“few:1:9”; accepted: 1, 2."],
    ["x".repeat(9999), `“${"x".repeat(40)}…”; accepted: few, rate.`],
  ])
    assert.deepEqual(of(asked), { state: start, refused: `The address asks for ${told}` });
});
