// @ts-check
/** The triples near the threshold, each of which can be opened with its image. */

import { Canvas } from "../../canvas/canvas.js";
import { write } from "../../canvas/chips.js";
import { make } from "../shared/dom.js";
import { short } from "../shared/format.js";
import { say } from "../shared/language.js";
import { picture } from "../shared/picture.js";
import { imageUrl } from "../shared/urls.js";

/** @import { NearTriple } from "./types.d.ts" */

const PARTS = { question: "Question", answer: "Answer", rationale: "Rationale" };
const OPENED_WIDTH = 640;

/**
 * @param {HTMLElement} list
 * @param {NearTriple[]} rows
 */
export function showTriples(list, rows) {
  const edge = rows.findIndex((row) => !row.is_kept);
  list.replaceChildren(...rows.map((row, i) => nearRow(row, i > 0 && i === edge)));
}

/**
 * @param {NearTriple} row
 * @param {boolean} isEdge the threshold is just above it
 */
function nearRow(row, isEdge) {
  const votes = row.votes ? say("{yes} of {all} votes accept", { yes: row.accepts, all: row.votes }) : say("no votes");
  const item = make("button", { type: "button", className: isEdge ? "edge" : "", title: `${row.answer}\n${row.rationale}` },
    make("img", { src: imageUrl(row.image, 160), alt: row.image.title, loading: "lazy" }),
    make("span", {}, question(row), make("small", { textContent: `${row.is_kept ? say("kept") : say("not kept")} · ${votes}` })),
    make("span", { className: `value ${row.is_kept ? "kept" : "out"}`, textContent: short(row.score, 3) }));
  item.addEventListener("click", () => toggle(item, row));
  return item;
}

/**
 * The question with its references; a button cannot contain buttons.
 * @param {NearTriple} row
 */
function question(row) {
  const words = make("span", { className: "words" });
  write(words, row.question, new Set(row.regions.map((region) => region.number)));
  for (const chip of words.querySelectorAll("button")) {
    const text = make("b", { className: "chip", textContent: chip.textContent });
    text.style.cssText = chip.style.cssText;
    chip.replaceWith(text);
  }
  return words;
}

/**
 * Open a triple below its row, or close it.
 * @param {HTMLElement} item
 * @param {NearTriple} row
 */
function toggle(item, row) {
  const next = item.nextElementSibling;
  if (next?.classList.contains("opened")) return next.remove();
  const place = make("div"), box = make("div", { className: "opened" }, place);
  item.after(box);
  const canvas = new Canvas(place);
  canvas.show(row, picture(row.image, OPENED_WIDTH));
  const known = new Set(row.regions.map((region) => region.number));
  for (const part of /** @type {const} */ (["question", "answer", "rationale"])) {
    const words = make("p", { className: "words" });
    write(words, row[part], known, canvas);
    box.append(make("h2", { textContent: say(PARTS[part]) }), words);
  }
}
