// @ts-check
/** Tables: a row of titles, and rows of texts, figures or elements. */

import { make } from "./dom.js";
import { say } from "./language.js";

/** @typedef {string | number | Node | (string | Node)[] | null | undefined} Cell A missing one is shown as a dash. */

/**
 * A cell whose text is aligned as a number.
 * @param {...(string | Node)} content
 */
export function numberCell(...content) {
  return make("td", { className: "number" }, ...content);
}

/**
 * @param {HTMLTableElement} table
 * @param {readonly string[]} head titles in English
 * @param {Cell[][]} rows
 */
export function fillTable(table, head, rows) {
  const lines = rows.map((cells) => make("tr", {}, ...cells.map(cellOf)));
  const first = lines[0];
  const titles = head.map((title, i) => make("th", {
    scope: "col", className: first?.cells[i]?.className ?? "", textContent: title && say(title),
  }));
  table.replaceChildren(make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...lines));
}

/** @param {Cell} value */
function cellOf(value) {
  if (value instanceof HTMLTableCellElement) return value;
  if (Array.isArray(value)) return make("td", {}, ...value);
  return make("td", {}, value instanceof Node ? value : String(value ?? "–"));
}
