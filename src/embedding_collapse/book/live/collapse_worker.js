// A trainer in a thread of its own.

import { makeTrainer } from "./collapse_trainer.js";

const train = makeTrainer();
onmessage = ({ data }) => postMessage(train(data));
postMessage("ready");
