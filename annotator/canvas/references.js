// @ts-check
/** References such as [3] in text; the rule is that of regions/references.py. No DOM. */

// No sign, no leading zeros, at most nine digits.
const REFERENCE = /\[(0|[1-9][0-9]{0,8})\]/;

/**
 * Split a text into non-empty strings and region numbers.
 * @param {string} text
 * @returns {(string | number)[]}
 */
export function parse(text) {
  return text
    .split(REFERENCE)
    .map((part, i) => (i % 2 ? Number(part) : part))
    .filter((part) => part !== "");
}
