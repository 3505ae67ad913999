// Adam (Kingma & Ba 2015), as PyTorch has it: weight decay is added to the gradient.

const [FIRST, SECOND, EPS] = [0.9, 0.999, 1e-8];

/**
 * What to call after each gradient, to take the step.
 * @param {Float32Array} weights
 * @param {Float32Array} gradients
 * @param {number} rate
 * @param {number} decay
 */
export function adam(weights, gradients, rate, decay) {
  const [means, squares] = [new Float32Array(weights.length), new Float32Array(weights.length)];
  let steps = 0;
  return () => {
    steps++;
    const size = rate / (1 - FIRST ** steps);
    const root = Math.sqrt(1 - SECOND ** steps);
    for (let i = 0; i < weights.length; i++) {
      const gradient = gradients[i] + decay * weights[i];
      means[i] += (1 - FIRST) * (gradient - means[i]);
      squares[i] = SECOND * squares[i] + (1 - SECOND) * gradient * gradient;
      weights[i] -= (size * means[i]) / (Math.sqrt(squares[i]) / root + EPS);
    }
  };
}
