// The same in a thread of its own.

import { makeTrainer } from "./sets_trainer.js";

const train = makeTrainer();
onmessage = ({ data }) => postMessage(train(data));
postMessage("ready");
