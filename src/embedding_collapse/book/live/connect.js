// A trainer to give orders to: in a worker or, where none can be made, in the page, a few
// milliseconds at a time.

const BETWEEN = 4; // milliseconds to train before the next picture, in the page

/**
 * Orders are to be given one at a time.
 * @template {object} Order
 * @template Answer
 * @param {string | URL} address of the worker's module or, as text, of a joined script: a page opened
 *   as a file may load no module
 * @param {() => (order: Order) => Answer} makeTrainer
 * @param {number} budget milliseconds to train before the next picture, in the worker
 * @returns {Promise<{ ask: (order: Order) => Promise<Answer>, end: () => void }>}
 */
export async function connect(address, makeTrainer, budget) {
  try {
    const type = typeof address === "string" ? "classic" : "module";
    const worker = new Worker(address, { type });
    const reply = () =>
      new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = reject;
      });
    await reply(); // it is ready, or it failed to load
    const ask = (/** @type {Order} */ order) => {
      const answer = reply();
      worker.postMessage({ budget, ...order });
      return answer;
    };
    return { ask, end: () => worker.terminate() };
  } catch {
    const train = makeTrainer();
    const ask = async (/** @type {Order} */ order) => {
      await new Promise((resolve) => setTimeout(resolve)); // let the page do what else it has to
      return train({ budget: BETWEEN, ...order });
    };
    return { ask, end: () => {} };
  }
}
