// The drawings: a cloud of rows, spectra, curves. Each draws what it is given and keeps nothing.

const TILT = 0.35; // radians by which a cloud is seen from above
export const INKS = { second: "#E69F00", third: "#009E73" }; // the fields that pull

/**
 * @typedef {{ context: CanvasRenderingContext2D, width: number, height: number, ink: string }} Sheet
 * @typedef {[number, number, number]} Place
 */

/**
 * A canvas wiped clean, sharp on its screen; measures are in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @returns {Sheet}
 */
export function sheet(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const sharp = devicePixelRatio || 1;
  const [across, up] = [Math.round(width * sharp), Math.round(height * sharp)];
  if (canvas.width !== across || canvas.height !== up)
    Object.assign(canvas, { width: across, height: up });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  context.clearRect(0, 0, width, height);
  const { color, fontFamily } = getComputedStyle(canvas);
  context.font = `12px ${fontFamily}`;
  context.fillStyle = context.strokeStyle = color;
  return { context, width, height, ink: color };
}

/**
 * Where a row lies along three directions.
 * @param {ArrayLike<number>} rows
 * @param {number} at where the row begins
 * @param {Float64Array[]} axes
 * @returns {Place}
 */
export function along(rows, at, axes) {
  const place = axes.map((axis) => axis.reduce((sum, value, k) => sum + value * rows[at + k], 0));
  return /** @type {Place} */ (place);
}

/**
 * From places to pixels, seen from an angle; the third number is the depth, larger nearer.
 * @param {Sheet} on
 * @param {number} reach the distance that has to fit
 * @param {number} angle radians
 * @returns {(place: Place) => Place}
 */
function camera({ width, height }, reach, angle) {
  const unit = (0.46 * Math.min(width, height)) / reach;
  const [sin, cos, dip, level] = [Math.sin(angle), Math.cos(angle), Math.sin(TILT), Math.cos(TILT)];
  return ([x, y, z]) => {
    const [right, back] = [cos * x + sin * z, cos * z - sin * x];
    const [up, near] = [level * y - dip * back, level * back + dip * y];
    const larger = 4 / (4 - near / reach); // perspective, from four times the reach
    return [width / 2 + unit * larger * right, height / 2 - unit * larger * up, near / reach];
  };
}

/**
 * The rows of E_1 as a cloud, the rows of E_3 as rays, and at one row the two pulls upon it.
 * @param {Sheet} on
 * @param {{ rows: Place[], rays: Place[], row: number, pulls: Place[], reach: number, angle: number,
 *   colour: string }} what
 */
export function cloud(on, { rows, rays, row, pulls, reach, angle, colour }) {
  const { context, ink } = on;
  const see = camera(on, reach, angle);
  const middle = see([0, 0, 0]);
  context.lineWidth = 1;
  context.globalAlpha = 0.25;
  for (const axis of [0, 1, 2])
    for (const sign of [-1, 1]) {
      const end = /** @type {Place} */ ([0, 1, 2].map((k) => (k === axis ? sign * reach : 0)));
      line(context, [middle, see(end)], ink);
    }
  context.globalAlpha = 0.8;
  context.setLineDash([3, 3]);
  for (const ray of rays) {
    const far = /** @type {Place} */ (ray.map((value) => (reach * value) / Math.hypot(...ray)));
    line(context, [middle, see(far)], INKS.third);
  }
  context.setLineDash([]);
  context.fillStyle = colour;
  const seen = rows.map(see).sort((a, b) => a[2] - b[2]);
  for (const [x, y, depth] of seen) {
    context.globalAlpha = 0.65 + 0.35 * Math.max(-1, Math.min(1, depth));
    dot(context, x, y, 2.6 + depth);
  }
  context.globalAlpha = 1;
  const chosen = rows[row];
  [INKS.second, INKS.third].forEach((inked, i) => {
    const tip = /** @type {Place} */ (chosen.map((value, k) => value + pulls[i][k]));
    arrow(context, see(chosen), see(tip), inked);
  });
  const [x, y] = see(chosen);
  context.fillStyle = ink;
  dot(context, x, y, 4);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 */
function dot(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, Math.max(1, radius), 0, 7);
  context.fill();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {ArrayLike<number>[]} points
 * @param {string} colour
 */
function line(context, points, colour) {
  context.strokeStyle = colour;
  context.beginPath();
  for (const point of points) context.lineTo(point[0], point[1]);
  context.stroke();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Place} from
 * @param {Place} to
 * @param {string} colour
 */
function arrow(context, from, to, colour) {
  const [across, up] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(across, up);
  if (length < 1) return;
  const head = Math.min(8, length / 2) / length;
  context.lineWidth = 2.5;
  line(context, [from, to], colour);
  const wing = (/** @type {number} */ side) => [
    to[0] - head * (across + side * 0.6 * up),
    to[1] - head * (up - side * 0.6 * across),
  ];
  line(context, [wing(1), to, wing(-1)], colour);
}

/**
 * Singular values as bars, and a tick at each to compare it with.
 * @param {Sheet} on
 * @param {{ now: Float64Array, ticks: Float64Array, most: number, colour: string, title: string }}
 *   what
 */
export function bars({ context, width, height, ink }, { now, ticks, most, colour, title }) {
  const [left, top, room] = [26, 18, height - 36];
  const each = (width - left) / now.length;
  const tall = (/** @type {number} */ value) => (room * value) / most;
  now.forEach((value, k) => {
    const x = left + each * (k + 0.15);
    context.fillStyle = colour;
    context.fillRect(x, top + room - tall(value), 0.7 * each, tall(value));
    context.lineWidth = 1.5;
    const y = top + room - tall(ticks[k]);
    line(context, [[x, y], [x + 0.7 * each, y]], ink); // prettier-ignore
    write(context, `${k + 1}`, left + each * (k + 0.5), height - 4, "center", ink);
  });
  context.lineWidth = 1;
  line(context, [[left, top + room], [width, top + room]], ink); // prettier-ignore
  write(context, title, left, 11, "left", ink);
  write(context, most.toFixed(0), left - 4, top + 10, "right", ink);
  write(context, "0", left - 4, top + room, "right", ink);
}

/**
 * The spectra of all fields in a row, each table's over its own largest value; a field's sets stand
 * beside each other, every other one paler.
 * @param {Sheet} on
 * @param {{ spectra: Float64Array[][], names: string[], colour: string, title: string }} what
 */
export function spectra({ context, width, height, ink }, { spectra, names, colour, title }) {
  const [top, room] = [18, height - 36];
  const block = width / spectra.length;
  spectra.forEach((sets, i) => {
    const bars = sets.reduce((sum, singular) => sum + singular.length, 0);
    const each = (0.86 * block) / bars;
    let x = block * (i + 0.07);
    sets.forEach((singular, m) => {
      context.globalAlpha = m % 2 ? 0.55 : 1;
      context.fillStyle = colour;
      for (const value of singular) {
        const tall = (room * value) / (singular[0] || 1);
        context.fillRect(x, top + room - tall, Math.max(0.8 * each, each - 1), tall);
        x += each;
      }
    });
    context.globalAlpha = 1;
    write(context, names[i], block * (i + 0.5), height - 4, "center", ink);
  });
  context.lineWidth = 1;
  line(context, [[0, top + room], [width, top + room]], ink); // prettier-ignore
  write(context, title, 0, 11, "left", ink);
}

/**
 * Numbers over the steps, a curve per run; what went before is paler.
 * @param {Sheet} on
 * @param {{ curves: { points: [number, number][], colour: string, dash: number[], pale?: boolean }[],
 *   steps: number, low: number, high: number, title: string }} what
 */
export function curves({ context, width, height, ink }, { curves, steps, low, high, title }) {
  const [left, top, across, up] = [34, 18, width - 40, height - 36];
  const x = (/** @type {number} */ step) => left + (across * step) / steps;
  const y = (/** @type {number} */ value) => top + (up * (high - value)) / (high - low);
  context.globalAlpha = 0.3;
  context.lineWidth = 1;
  line(context, [[left, top], [left, top + up], [left + across, top + up]], ink); // prettier-ignore
  for (const { points, colour, dash, pale } of curves) {
    if (!points.length) continue;
    context.globalAlpha = pale ? 0.3 : 1;
    context.lineWidth = pale ? 1.5 : 2.5;
    context.setLineDash(dash);
    line(context, points.map(([step, value]) => [x(step), y(value)]), colour); // prettier-ignore
    context.setLineDash([]);
    const [step, value] = points[points.length - 1];
    context.fillStyle = colour;
    dot(context, x(step), y(value), pale ? 2 : 3.5);
  }
  context.globalAlpha = 1;
  write(context, title, left, 11, "left", ink);
  write(context, `${high}`, left - 4, top + 10, "right", ink);
  write(context, `${low}`, left - 4, top + up, "right", ink);
  write(context, "0", left, height - 4, "left", ink);
  write(context, steps.toLocaleString("en"), left + across, height - 4, "right", ink);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {CanvasTextAlign} align
 * @param {string} colour
 */
function write(context, text, x, y, align, colour) {
  context.fillStyle = colour;
  context.textAlign = align;
  context.fillText(text, x, y);
}
