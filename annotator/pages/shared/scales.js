// @ts-check
/** Scales and paths of charts. No DOM. */

/** @typedef {{left: number, right: number, top: number, bottom: number}} Margins */
/** @typedef {ReturnType<typeof plotArea>} PlotArea */
/** @typedef {[x: number, y: number]} Point */

export const QUARTERS = [0, 0.25, 0.5, 0.75, 1];
export const FIFTHS = [0, 0.2, 0.4, 0.6, 0.8, 1];

/** @type {Margins} */
const MARGINS = { left: 44, right: 16, top: 24, bottom: 28 };

/**
 * The area of a chart: `x` and `y` place shares of 0 to 1 in it, and `shareAt` is the inverse of `x`.
 * @param {number} width
 * @param {number} height
 * @param {Margins} margins
 */
export function plotArea(width, height, margins = MARGINS) {
  const { left, right, top, bottom } = margins;
  return {
    ...margins,
    width,
    height,
    x: (/** @type {number} */ share) => left + share * (width - left - right),
    y: (/** @type {number} */ share) => top + (1 - share) * (height - top - bottom),
    shareAt: (/** @type {number} */ x) => (x - left) / (width - left - right),
  };
}

/**
 * A path through points.
 * @param {Point[]} points
 */
export function linePath(points) {
  return points.length ? `M${points.map((point) => point.join(" ")).join("L")}` : "";
}

/**
 * A step function from `start`: each point's value holds from the point before it.
 * @param {Point[]} points
 * @param {number} start
 */
export function stepPath(points, start) {
  return points.map(([x, y], i) => {
    const before = points[i - 1];
    return before ? `H${before[0]}V${y}H${x}` : `M${start} ${y}H${x}`;
  }).join("");
}

/**
 * The area between an upper and a lower line.
 * @param {Point[]} upper
 * @param {Point[]} lower
 */
export function bandPath(upper, lower) {
  return upper.length ? `${linePath([...upper, ...[...lower].reverse()])}Z` : "";
}
