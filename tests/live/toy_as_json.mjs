// The page's toy experiment for test_explorers_training.py: settings as an argument, numbers as JSON.
import { abundance, spectrum } from "../../src/embedding_collapse/book/live/spectrum.js";
import { begin, step, thetas } from "../../src/embedding_collapse/book/live/toy.js";

const { steps, row, ...setting } = JSON.parse(process.argv[2]);
const run = begin(setting);
const start = Object.fromEntries(
  ["one", "two", "three", "context", "labels"].map((name) => [name, Array.from(run[name])]),
);
const pulls = thetas(run, row).map((pull) => Array.from(pull));
const losses = Array.from({ length: steps }, () => step(run));
const { singular } = spectrum(run.one, run.width);
const end = { table: Array.from(run.one), singular: Array.from(singular), ia: abundance(singular) };
console.log(JSON.stringify({ start, pulls, losses, end }));
