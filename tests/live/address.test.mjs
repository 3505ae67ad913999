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
  assert.deepEqual(readState(search, "figure", sliders, start), { state, refused: [] });
  assert.deepEqual(readState("?highlight=toy", "figure", sliders, start).state, start);
});

test("what cannot be is refused by name, and the rest is taken", () => {
  const { state, refused } = readState("?figure=few:7,many:1,rate:,few:1", "figure", sliders, start);
  assert.deepEqual(state, { few: 1, rate: 1 });
  assert.deepEqual(refused, [
    "The address asks for “few:7”; accepted: 1, 2.",
    "The address asks for “many:1”; accepted: few, rate.",
    "The address asks for “rate:”; accepted: 0.1, 1.",
  ]);
});
