// @ts-check
/** Panels for training critics, retraining them automatically, and comparing them. */

import { onAction, onSubmit } from "../shared/dom.js";
import { range } from "../shared/format.js";
import { say } from "../shared/language.js";
import { history } from "../shared/plots.js";
import { fillTable } from "../shared/tables.js";

/** @import { Estimate, Overview } from "./payloads.d.ts" */
/** @import { CriticPage, Results } from "./types.d.ts" */
/** @typedef {(button: HTMLButtonElement, kind: string, simulated: boolean) => Promise<void>} Train */

const POLL_MS = 500;

/** @param {CriticPage} page */
export function addTraining(page) {
  const { ask, find, showError } = page;
  const kinds = find(".kind", HTMLSelectElement);

  /** @type {Train} */
  async function train(button, kind, simulated) {
    await page.busy(button, say("Training…"), async () => {
      let state = await ask("train", { kind, simulated });
      while (state.is_running) {
        await new Promise((done) => setTimeout(done, POLL_MS));
        state = await ask("training_state");
      }
      if (state.error) throw new Error(state.error);
      await page.load(state.run ?? undefined);
    });
  }

  /** @param {Results["retrain"] | null} status */
  function showRetraining(status) {
    const text = !status?.every ? say("Automatic training is off.")
      : say("Retrains after every {every} new votes; {votes} since the last training.", status);
    find(".retraining").textContent = status?.error ? `${text} ${status.error}` : text;
    find("[data-do='retrain-off']").hidden = !status?.every;
  }

  /**
   * @param {number} every
   * @param {string} kind
   * @param {boolean} simulated
   */
  function retrain(every, kind, simulated) {
    ask("retrain", { every, kind, simulated }).then(showRetraining).catch(showError);
  }

  async function compare() {
    const { columns, rows } = await ask("compare");
    const head = columns.map((column) => column.title);
    const lines = rows.map((row) => {
      const fields = /** @type {Record<string, Compared>} */ ({ ...row });
      return columns.map((column) => comparedText(fields[column.value] ?? null));
    });
    fillTable(find(".compared", HTMLTableElement), head, lines);
  }

  onSubmit(find("form.retrain", HTMLFormElement), ({ every }) => {
    retrain(Number(every), kinds.value, page.current().critic.simulated);
  });
  onAction(page.root, (action, button) => {
    if (!(button instanceof HTMLButtonElement)) return;
    if (action === "train") train(button, kinds.value, page.current().critic.simulated);
    if (action === "retrain-off") retrain(0, "baseline", false);
    if (action === "compare") page.busy(button, say("Comparing…"), compare);
  });

  return {
    train,
    /** @param {Overview} overview */
    show(overview) {
      find(".history").replaceChildren(history(overview.history));
      showRetraining(overview.retraining);
    },
  };
}

/** @typedef {Estimate | string | number | null} Compared */

/**
 * The text of a field of a compared critic.
 * @param {Compared} value
 */
function comparedText(value) {
  if (value === null) return null;
  if (typeof value === "string") return say(value); // the random choice has no name of its own
  if (typeof value === "number") return Number.isInteger(value) ? value : value.toFixed(3);
  return value.value === null ? null : `${value.value.toFixed(3)} ${range(value)}`.trim();
}
