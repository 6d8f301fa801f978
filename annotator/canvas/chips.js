// @ts-check
/** The numbers of regions in texts, which highlight their region. Texts are inserted as text only. */

import { make } from "../pages/shared/dom.js";
import { say } from "../pages/shared/language.js";
import { parse } from "./references.js";

/** @import { Canvas } from "./canvas.js" */

/** @type {[colour: string, ink: string][] | null} */
let palette = null;

/** The colours of regions/marks.py, which the page brings: see annotator/pages/shell.py. */
function colours() {
  palette ??= JSON.parse(document.getElementById("lskd-palette")?.textContent ?? "[]");
  return palette ?? [];
}

/**
 * Give an element the colours of a region.
 * @param {HTMLElement | SVGElement} element
 * @param {number} number
 */
export function paint(element, number) {
  const [colour, ink] = colours()[number % colours().length] ?? ["#000", "#fff"];
  element.style.setProperty("--region", colour);
  element.style.setProperty("--ink", ink);
  element.dataset.region = String(number);
}

/**
 * The number of a region as a button.
 * @param {number} number
 * @param {Canvas | null} [canvas]
 */
export function chip(number, canvas) {
  const button = make("button", {
    className: "chip",
    type: "button",
    textContent: String(number),
    ariaLabel: say("region {n}", { n: number }),
  });
  paint(button, number);
  if (canvas) {
    for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => canvas.light(number));
    for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => canvas.light(null));
    canvas.chips.add(button);
  }
  return button;
}

/**
 * Write a text with its references as chips; references to other regions than `known` stay text.
 * @param {HTMLElement} element
 * @param {string} text
 * @param {Set<number>} known
 * @param {Canvas | null} [canvas]
 */
export function write(element, text, known, canvas = null) {
  element.dir = "auto";
  element.replaceChildren(
    ...parse(text).map((part) => {
      if (typeof part === "string") return part;
      return known.has(part) ? chip(part, canvas) : `[${part}]`;
    }),
  );
}
