// @ts-check
/** Figures as texts; "–" where there is none. No DOM. */

/** @typedef {number | null | undefined} Figure */
/** @typedef {{value: Figure, low: Figure, high: Figure}} Interval */

const NONE = "–";

/**
 * @param {Figure} value
 * @returns {value is number}
 */
const isNumber = (value) => value !== null && value !== undefined;

/**
 * Two decimals, as in 0.73.
 * @param {Figure} value
 */
export function two(value) {
  return isNumber(value) ? value.toFixed(2) : NONE;
}

/**
 * Decimals without the zero before the point, as in .73.
 * @param {Figure} value
 * @param {number} [digits]
 */
export function short(value, digits = 2) {
  return isNumber(value) ? value.toFixed(digits).replace(/^0(?=\.)/, "") : NONE;
}

/**
 * An interval, as in .60–.80; empty where there is none.
 * @param {Interval | null} estimate
 */
export function range(estimate) {
  return isNumber(estimate?.low) ? `${short(estimate.low)}–${short(estimate.high)}` : "";
}

/**
 * A share of 0 to 1 in per cent.
 * @param {Figure} value
 */
export function share(value) {
  return isNumber(value) ? `${Math.round(100 * value)} %` : NONE;
}

/**
 * A duration in milliseconds as seconds.
 * @param {Figure} ms
 */
export function seconds(ms) {
  return isNumber(ms) ? `${(ms / 1000).toFixed(1)} s` : NONE;
}

/**
 * A whole number with separators.
 * @param {number} n
 */
export function count(n) {
  return n.toLocaleString("en");
}
