import assert from "node:assert/strict";
import { test } from "node:test";

import { Generator } from "../../src/embedding_collapse/book/live/random.js";

test("the bits are the Mersenne Twister's", () => {
  const generator = new Generator(5489); // the seed whose 10,000th number the C++ standard states
  for (let i = 1; i < 10_000; i++) generator.bits();
  assert.equal(generator.bits(), 4123659995);
});

test("normal numbers have the moments that they should, in any number", () => {
  for (const count of [7, 15, 16, 1000, 1003]) {
    const generator = new Generator(count);
    const rounds = Math.ceil(20_000 / count);
    const values = Array.from({ length: rounds }, () => [...generator.normals(count)]).flat();
    const moment = (power) => values.reduce((sum, v) => sum + v ** power, 0) / values.length;
    const within = 5 / Math.sqrt(values.length); // five standard errors of a mean
    assert.ok(Math.abs(moment(1)) < within);
    assert.ok(Math.abs(moment(2) - 1) < Math.SQRT2 * within);
    assert.ok(Math.abs(moment(4) - 3) < Math.sqrt(96) * within);
  }
});
