// A trainer to give orders to: in a worker or, where none can be made (a page opened as a file may
// not load one), in the page, a few milliseconds at a time.

import { makeTrainer } from "./trainer.js";

const [ASIDE, BETWEEN] = [10, 4]; // milliseconds to train before the next picture

/** @typedef {(order: import("./trainer.js").Order) => Promise<import("./trainer.js").Answer>} Ask */

/**
 * Orders are to be given one at a time.
 * @returns {Promise<{ ask: Ask, end: () => void }>}
 */
export async function connect() {
  try {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    const reply = () =>
      new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = reject;
      });
    await reply(); // it is ready, or it failed to load
    const ask = (/** @type {import("./trainer.js").Order} */ order) => {
      const answer = reply();
      worker.postMessage({ budget: ASIDE, ...order });
      return answer;
    };
    return { ask, end: () => worker.terminate() };
  } catch {
    const train = makeTrainer();
    return { ask: async (order) => train({ budget: BETWEEN, ...order }), end: () => {} };
  }
}
