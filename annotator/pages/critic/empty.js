// @ts-check
/** The critic page before there is a critic: what is needed to train one. */

import { make } from "../shared/dom.js";
import { say } from "../shared/language.js";
import { ROOT } from "../shared/urls.js";

/** @import { Overview } from "./payloads.d.ts" */
/** @import { Train } from "./training.js" */
/** @import { CriticPage } from "./types.d.ts" */

/**
 * @param {CriticPage} page
 * @param {Overview} overview
 * @param {Train} train
 */
export function showNoCritic({ find, ask, busy, load }, { labels, can_simulate: canSimulate }, train) {
  if (!labels) return;
  const { people, simulated } = labels;
  const box = find(".empty");
  find(".empty h1").textContent = people.missing ? say("Not enough labels yet") : say("Ready to train");
  find(".empty p").textContent = people.missing
    ? say("Needed to train a critic: {missing}.", people)
    : say("{labelled} labelled triples on {images} images, {accepted} of them accepted.", people);
  const row = make("div", { className: "row" });
  if (people.missing) {
    row.append(make("a", { className: "button", href: `${ROOT}/annotate/`, textContent: say("Label triples") }));
  } else {
    row.append(button(say("Train a critic"), (self) => train(self, "baseline", false), "go"));
  }
  if (people.missing && canSimulate && simulated.missing) {
    row.append(button(say("Let simulated annotators vote"), (self) => busy(self, say("Simulating votes…"), async () => {
      await ask("simulate");
      await load();
    })));
  }
  if (people.missing && !simulated.missing) {
    row.append(button(say("Train on simulated votes"), (self) => train(self, "baseline", true)));
  }
  box.querySelector(".row")?.remove();
  box.append(row);
  find(".status").textContent = say("No critic yet");
}

/**
 * @param {string} text
 * @param {(self: HTMLButtonElement) => void} onclick
 * @param {string} className
 */
function button(text, onclick, className = "") {
  const self = make("button", { className, type: "button", textContent: text });
  self.addEventListener("click", () => onclick(self));
  return self;
}
