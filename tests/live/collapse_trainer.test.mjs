import assert from "node:assert/strict";
import { test } from "node:test";

import { makeTrainer } from "../../src/embedding_collapse/book/live/collapse_trainer.js";

const setting = { third: 2, width: 3, seed: 0, rate: 1 };

test("a run that diverges stops and says where, and the other goes on", () => {
  const train = makeTrainer();
  const settings = [{ ...setting, rate: 5000 }, setting];
  const [{ safe }] = train({ settings, row: 0 }).fixed;
  assert.ok(safe < 5000);
  const [wild, calm] = train({ steps: 30, row: 0 }).runs;
  assert.ok(wild.diverged >= 1 && wild.diverged < 30);
  assert.equal(wild.step, wild.diverged);
  assert.equal(calm.diverged, null);
  assert.equal(calm.step, 30);
  const [still] = train({ steps: 30, row: 0 }).runs;
  assert.deepEqual(still.table, wild.table);
  const alone = makeTrainer();
  alone({ settings, row: 0 });
  const [then] = alone({ steps: wild.step, row: 0 }).runs;
  for (const what of ["step", "loss", "ia", "table"]) assert.deepEqual(wild[what], then[what]);
});

test("a row's longer pull at the start does not depend on which row is shown", () => {
  const [one, other] = [0, 41].map((row) => makeTrainer()({ settings: [setting], row }));
  assert.deepEqual(one.fixed, other.fixed);
  const pulls = (/** @type {any} */ { runs: [{ thetas }] }) => thetas.map((theta) => Math.hypot(...theta));
  assert.equal(one.fixed[0].longer[0], Math.max(...pulls(one)));
  assert.equal(other.fixed[0].longer[41], Math.max(...pulls(other)));
});

test("steps in parts are steps at once, and an answer is not touched by later steps", () => {
  const [one, other] = [makeTrainer(), makeTrainer()];
  const start = one({ settings: [setting], row: 0 }).runs[0].table;
  other({ settings: [setting], row: 0 });
  for (let i = 0; i < 5; i++) one({ steps: 2, row: 0 });
  const end = one({ row: 0 }).runs[0];
  assert.deepEqual(end, other({ steps: 10, row: 0 }).runs[0]);
  assert.notDeepEqual(start, end.table);
});

test("no more time is taken than there is", () => {
  const train = makeTrainer();
  train({ settings: [setting], row: 0 });
  assert.equal(train({ steps: 1000, budget: 0, row: 0 }).runs[0].step, 0);
  const { step } = train({ steps: 1e9, budget: 20, row: 0 }).runs[0];
  assert.ok(step > 0 && step < 1e9);
});
