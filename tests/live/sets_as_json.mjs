// The page's recommender for test_live_sets.py: what to train as an argument, numbers as JSON.
import { drawClicks } from "../../src/embedding_collapse/book/live/clicks.js";
import * as optimizers from "../../src/embedding_collapse/book/live/optimizer.js";
import { backward, build, forward } from "../../src/embedding_collapse/book/live/recommender.js";
import { makeTrainer, measure } from "../../src/embedding_collapse/book/live/sets_trainer.js";

const asked = JSON.parse(process.argv[2]);
const print = (made) =>
  console.log(JSON.stringify(made, (_, it) => (ArrayBuffer.isView(it) ? Array.from(it) : it)));

function steps({ name, size, seed, table, rows, batch, optimizer, rate, decay }) {
  const clicks = drawClicks(table, rows);
  const model = build(name, size, seed);
  const { all, ...parts } = model.weights;
  const start = structuredClone(parts);
  const step = optimizers[optimizer](all, model.gradients.all, rate, decay);
  const losses = [];
  for (let from = 0; from + batch <= rows; from += batch) {
    const some = Uint32Array.from({ length: batch }, (_, i) => from + i);
    losses.push(backward(model, clicks, some));
    step();
  }
  forward(model, clicks.ids, Uint32Array.from({ length: batch }, (_, i) => i), false);
  const logits = model.logits.slice(0, batch);
  print({ clicks, start, losses, end: parts, logits, ...measure(model) });
}

function race(setting) {
  const train = makeTrainer();
  train({ setting });
  const seeds = Array.from({ length: setting.seeds }, () => {
    const end = Math.ceil(setting.train / setting.batch) * setting.epochs;
    return train({ steps: end });
  });
  print(seeds);
}

if (asked.seeds) race(asked);
else steps(asked);
