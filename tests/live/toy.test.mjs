import assert from "node:assert/strict";
import { test } from "node:test";

import { spectrum } from "../../src/embedding_collapse/book/live/spectrum.js";
import { begin, lossOf, safeRate, step, thetas } from "../../src/embedding_collapse/book/live/toy.js";

const setting = { third: 2, width: 3, seed: 0, rate: 1 };

test("the pulls of the other fields add up to the slope of the loss", () => {
  const run = begin(setting);
  const [second, third] = thetas(run, 5);
  const by = 2 ** -6; // exact in float32; the error of the difference is of its square
  for (let k = 0; k < run.width; k++) {
    const at = 5 * run.width + k;
    const held = run.one[at];
    const [more, less] = [1, -1].map((sign) => {
      run.one[at] = held + sign * by;
      return [lossOf(run), run.one[at]];
    });
    run.one[at] = held;
    const slope = (more[0] - less[0]) / (more[1] - less[1]);
    // by^2 / 6 times the third derivative: below |x|^3 / 10 in 100 of 10,000 losses, |x| below 6
    assert.ok(Math.abs(second[k] + third[k] - slope) < (by ** 2 / 6) * (6 ** 3 / 10 / 100));
  }
});

test("the third field pulls along its own rows alone", () => {
  const run = begin(setting);
  const { axes } = spectrum(Float32Array.of(...run.three, 0, 0, 0), 3); // the last is off the plane
  for (let row = 0; row < 100; row++) {
    const [second, third] = thetas(run, row);
    const off = (theta) => Math.abs(axes[2].reduce((sum, v, k) => sum + v * theta[k], 0));
    assert.ok(off(third) < 1e-15, `row ${row}`);
    assert.ok(off(second) > off(third));
  }
});

test("below the safe rate no step takes the loss up, and far above it one does", () => {
  const rises = (rate) => {
    const run = begin({ ...setting, rate });
    const losses = Array.from({ length: 40 }, () => step(run));
    // float32 rounds each entry of a row, which moves a logit by less than that
    return losses.some((loss, i) => i > 0 && loss > losses[i - 1] + 2 ** -24 * 40);
  };
  const safe = safeRate(begin(setting));
  assert.equal(rises(safe), false);
  assert.equal(rises(8 * safe), true);
});
