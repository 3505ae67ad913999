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
  /** @type {Worker | null} */
  let worker = null;
  // What it says next: one that fails is ended, and the order after that goes to another.
  const reply = (/** @type {Worker} */ from) =>
    new Promise((resolve, reject) => {
      from.onmessage = ({ data }) => resolve(data);
      from.onerror = reject;
    }).catch((error) => {
      from.terminate();
      worker = null;
      throw error;
    });
  const begin = async () => {
    const made = new Worker(address, { type: typeof address === "string" ? "classic" : "module" });
    const message = "an answer that cannot be read";
    // Chromium's workers have no `onmessageerror`
    made.addEventListener("messageerror", () => made.onerror?.(new ErrorEvent("error", { message })));
    await reply(made); // it is ready, or it failed to load
    return (worker = made);
  };
  try {
    await begin();
    const ask = async (/** @type {Order} */ order) => {
      const asked = worker ?? (await begin());
      const answer = reply(asked);
      asked.postMessage({ budget, ...order });
      return answer;
    };
    return { ask, end: () => worker?.terminate() };
  } catch {
    const train = makeTrainer();
    const ask = async (/** @type {Order} */ order) => {
      await new Promise((resolve) => setTimeout(resolve)); // let the page do what else it has to
      return train({ budget: BETWEEN, ...order });
    };
    return { ask, end: () => {} };
  }
}
