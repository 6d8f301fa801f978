// @ts-check
/** Decisions about triples, and the reasons for rejecting one: buttons and keys 1 to 6. */

import { make } from "./dom.js";
import { say } from "./language.js";

/** @import { Find } from "./dom.js" */
/** @import { Reason } from "./payloads.d.ts" */
/** @typedef {"accept" | "reject" | "skip"} Decision */

/** @type {Record<Decision, string>} */
export const DECISIONS = { accept: "accept", reject: "reject", skip: "skip" };

/** @type {[Reason, string][]} In the order of the keys 1 to 6 and of db/schema.py. */
export const REASONS = [
  ["wrong_region", "wrong region"], ["not_in_image", "not in the picture"], ["wrong_answer", "wrong answer"],
  ["unsupported", "rationale does not support the answer"], ["trivial", "trivial"], ["harmful", "harmful"],
];

/**
 * The text of a reason.
 * @param {Reason} reason
 */
export function reasonText(reason) {
  return say(REASONS.find(([name]) => name === reason)?.[1] ?? reason);
}

/** The buttons of the reasons. */
export class ReasonPicker {
  /** @type {Reason[] | null} The reasons chosen so far; null while no rejection has begun. */
  chosen = null;

  /**
   * @param {Find} find
   * @param {(index: number, several: boolean) => void} onPick
   */
  constructor(find, onPick) {
    this.box = find(".reasons");
    this.reject = find("[data-do=reject]");
    this.buttons = REASONS.map(([, text], i) => make("button",
      { type: "button", onclick: (event) => onPick(i, event.shiftKey) },
      make("kbd", { textContent: String(i + 1) }), say(text)));
    this.box.append(...this.buttons);
  }

  /** @param {Reason[] | null} reasons */
  set(reasons) {
    this.chosen = reasons;
    this.box.classList.toggle("open", reasons !== null);
    this.reject.ariaExpanded = String(reasons !== null);
    REASONS.forEach(([name], i) => {
      const button = this.buttons[i];
      if (button) button.ariaPressed = String(Boolean(reasons?.includes(name)));
    });
  }
}
