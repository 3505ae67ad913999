import assert from "node:assert/strict";
import { test } from "node:test";

import { makeTrainer, stepsOf } from "../../src/embedding_collapse/book/live/sets_trainer.js";

const setting = {
  ...{ model: "dcnv2", scale: 2, seeds: 3, table: 0, rate: 0.003, train: 300, test: 100 },
  ...{ epochs: 1, batch: 100, decay: 1e-6, width: 4, hidden: 8 },
  claims: [{ measure: "share", more: 1, less: 0, expected: "lower" }],
};

test("a run that diverges stops and says where", () => {
  const train = makeTrainer();
  train({ setting: { ...setting, rate: 1e30 } });
  const { diverged, over, step } = train({ steps: 9 });
  assert.equal(over, true);
  assert.ok(diverged >= 1 && diverged < 3);
  assert.equal(step, diverged);
  assert.equal(train({ steps: 9 }).step, step);
});

test("steps in parts are steps at once, over all seeds, and an order ends with a seed's curves", () => {
  const [one, other] = [makeTrainer(), makeTrainer()];
  const steps = stepsOf(setting);
  const total = setting.seeds * steps;
  one({ setting });
  other({ setting });
  for (let i = 0; i < total - 1; i++) assert.equal(one({ steps: 1 }).over, false);
  const ends = Array.from({ length: setting.seeds }, () => other({ steps: total }));
  ends.forEach(({ seed, position, runs }, i) => {
    assert.deepEqual([seed, position], [i, (i + 1) * steps]);
    for (const { points } of runs) assert.deepEqual(points.map(([step]) => step), [0, 1, steps]);
  });
  const end = one({ steps: 1 });
  assert.deepEqual(end, ends.at(-1));
  assert.deepEqual([end.over, end.seed, end.step, end.ends.length], [true, 2, stepsOf(setting), 3]);
});

test("no more time is taken than there is", () => {
  const train = makeTrainer();
  train({ setting });
  assert.equal(train({ steps: 9, budget: 0 }).position, 0);
  assert.equal(train({ steps: 2, budget: 1e6 }).position, 2);
});

test("the first seeds alone give no verdict but undecided", () => {
  const train = makeTrainer();
  train({ setting });
  const [effect] = train({ steps: stepsOf(setting) }).effects;
  assert.deepEqual([effect.low, effect.high, effect.verdict], [-Infinity, Infinity, "undecided"]);
});
