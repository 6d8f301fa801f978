// @ts-check
/** Dialogs of the project page that change a batch or send votes back to their annotator. */

import { call, upload } from "../shared/api.js";
import { make, messageOf, onSubmit } from "../shared/dom.js";
import { say } from "../shared/language.js";

/** @import { Find } from "../shared/dom.js" */
/** @import { AnnotatorRow, BatchRow, Extension, ReturnResult } from "../shared/payloads.d.ts" */
/** @typedef {(message: string) => Promise<void>} OnChanged Loads the page again and shows what was done. */

const NUMBERS = new Set(["votes_each", "size", "score_from", "score_to"]);

/** @param {string} name */
const pathOf = (name) => `/api/research/batches/${encodeURIComponent(name)}`;

/**
 * The dialog that opens a batch again or extends it; returns what shows it for a batch.
 * @param {Find} $
 * @param {OnChanged} onChanged
 */
export function changeDialog($, onChanged) {
  const dialog = $("dialog.change", HTMLDialogElement), form = $("dialog.change form", HTMLFormElement);
  const change = $("dialog.change [name=change]", HTMLSelectElement);
  let name = "";
  const showFields = () => {
    for (const label of form.querySelectorAll("label[data-for]")) {
      if (label instanceof HTMLElement) label.hidden = !label.dataset.for?.split(" ").includes(change.value);
    }
  };
  change.addEventListener("change", showFields);
  onSubmit(form, async ({ change: what, ...fields }) => {
    const shown = [...form.querySelectorAll("label[data-for]:not([hidden]) [name]")].map((field) => field.getAttribute("name"));
    const body = Object.fromEntries(Object.entries(fields)
      .filter(([field, value]) => value !== "" && shown.includes(field))
      .map(([field, value]) => [field, NUMBERS.has(field) ? Number(value) : value]));
    try {
      /** @type {Extension} */
      const extension = await call(`${pathOf(name)}/${what}`, body);
      dialog.close();
      await onChanged(changeText(extension));
    } catch (error) {
      $("dialog.change .alarm").textContent = messageOf(error);
    }
  });
  /** @param {BatchRow} row */
  return (row) => {
    name = row.name;
    form.reset();
    change.value = row.open ? "triples" : "reopen";
    showFields();
    $("dialog.change .name").textContent = row.name;
    $("dialog.change .state").textContent = say("{triples} triples, {votes} of {required} votes", { triples: row.triples, votes: row.votes, required: row.votes_required });
    $("dialog.change .alarm").textContent = "";
    dialog.showModal();
  };
}

/** @param {Extension} extension */
function changeText({ batch, new_triples: added, triples_with_more_votes: more, adjudicated_triples: adjudicated }) {
  const parts = [];
  if (added) parts.push(say("{n} triples were added.", { n: added }));
  if (more) parts.push(say("{n} triples require more votes.", { n: more }));
  if (adjudicated) parts.push(say("{n} adjudicated triples do not.", { n: adjudicated }));
  return `${batch}: ${parts.join(" ") || say("open again.")}`;
}

/**
 * The dialog that sends votes back; returns what shows it for an annotator of a batch.
 * @param {Find} $
 * @param {OnChanged} onChanged
 */
export function returnDialog($, onChanged) {
  const dialog = $("dialog.return", HTMLDialogElement), form = $("dialog.return form", HTMLFormElement);
  let name = "", person = "";
  onSubmit(form, async ({ note, decision, triples = "", too_fast: tooFast }) => {
    const body = {
      person, note, decision: decision || null, too_fast: Boolean(tooFast),
      triples: triples.split(/[,\s]+/).filter(Boolean).map(Number),
    };
    try {
      /** @type {ReturnResult} */
      const { returned_votes: returned, left_out: leftOut } = await call(`${pathOf(name)}/returns`, body);
      dialog.close();
      const reasons = Object.entries(leftOut).map(([reason, n]) => `${n} ${say(reason)}`);
      const rest = reasons.length ? ` ${say("Left out: {reasons}.", { reasons: reasons.join(", ") })}` : "";
      await onChanged(`${say("{n} votes were sent back.", { n: returned })}${rest}`);
    } catch (error) {
      $("dialog.return .alarm").textContent = messageOf(error);
    }
  });
  /**
   * @param {string} batch
   * @param {AnnotatorRow} row
   */
  return (batch, row) => {
    [name, person] = [batch, row.name];
    form.reset();
    $("dialog.return .name").replaceChildren(row.name, make("span", { className: "quiet", textContent: ` · ${batch}` }));
    $("dialog.return .alarm").textContent = "";
    dialog.showModal();
  };
}

/**
 * The dialog that sets what a batch's annotators are paid; returns what shows it for a batch.
 * @param {Find} $
 * @param {OnChanged} onChanged
 */
export function priceDialog($, onChanged) {
  const dialog = $("dialog.price", HTMLDialogElement), form = $("dialog.price form", HTMLFormElement);
  let name = "";
  onSubmit(form, async ({ price, price_unit: unit }) => {
    try {
      await call(pathOf(name), { price: Number(price), price_unit: unit }, "PATCH");
      dialog.close();
      await onChanged("");
    } catch (error) {
      $("dialog.price .alarm").textContent = messageOf(error);
    }
  });
  /** @param {BatchRow} row */
  return (row) => {
    name = row.name;
    $("dialog.price .name").textContent = row.name;
    $("dialog.price [name=price]", HTMLInputElement).value = row.price === null ? "" : String(row.price);
    $("dialog.price [name=price_unit]", HTMLSelectElement).value = row.price_unit;
    $("dialog.price .alarm").textContent = "";
    dialog.showModal();
  };
}

/**
 * The dialog that imports gold; returns what shows it.
 * @param {Find} $
 * @param {OnChanged} onChanged
 */
export function goldDialog($, onChanged) {
  const dialog = $("dialog.gold", HTMLDialogElement), form = $("dialog.gold form", HTMLFormElement);
  onSubmit(form, async () => {
    const file = $("dialog.gold [name=file]", HTMLInputElement).files?.[0];
    if (!file) return;
    try {
      /** @type {{new: Record<string, number>, rejected_rows: number, rejection_reasons: Record<string, number>}} */
      const { new: added, rejected_rows: rejected, rejection_reasons: reasons } = await upload("/api/research/imports?format=gold", file);
      dialog.close();
      const rest = rejected ? ` ${say("{n} rows were rejected: {reasons}.", { n: rejected, reasons: Object.keys(reasons).join("; ") })}` : "";
      await onChanged(`${say("{n} triples are new gold.", { n: added.gold ?? 0 })}${rest}`);
    } catch (error) {
      $("dialog.gold .alarm").textContent = messageOf(error);
    }
  });
  return () => {
    form.reset();
    $("dialog.gold .alarm").textContent = "";
    dialog.showModal();
  };
}
