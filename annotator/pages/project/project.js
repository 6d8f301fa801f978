// @ts-check
/** The project page: shows the statistics that annotator/labels/statistics.py computes. */

import { call } from "../shared/api.js";
import { finder, make, messageOf, onAction, onSubmit } from "../shared/dom.js";
import { count, seconds, share, two } from "../shared/format.js";
import { say } from "../shared/language.js";
import { begin } from "../shared/session.js";
import { fillTable, numberCell } from "../shared/tables.js";
import { changeDialog, returnDialog } from "./changes.js";
import { showDays, showHours, showReasons } from "./charts.js";

/** @import { AnnotatorRow, BatchRow, Guidelines, PauseRow, ProjectOut } from "../shared/payloads.d.ts" */

const ORDERS = { uncertain: "critic's least certain first", disagreed: "most disagreement first" };
const WAGE = "lskd-wage", DEFAULT_WAGE = "15";

/** @param {HTMLElement} root */
export async function open(root) {
  const $ = finder(root);
  await begin(root);
  const parameters = new URLSearchParams(location.search);
  const batch = $("[name=batch]", HTMLSelectElement);
  const simulated = $("[name=simulated]", HTMLInputElement);
  const wage = $("[name=wage]", HTMLInputElement);
  wage.value = localStorage.getItem(WAGE) ?? DEFAULT_WAGE;
  simulated.checked = parameters.get("simulated") === "true";
  /** @type {ProjectOut | null} */
  let data = null;

  /** @param {string} text */
  const showMessage = (text) => { $(".message").textContent = text; };
  /** @param {unknown} error */
  const showError = (error) => showMessage(messageOf(error));
  /** @param {string} done */
  const showChange = (done) => load().then(() => { $(".done").textContent = done; }, showError);
  const changeBatch = changeDialog($, showChange), returnVotes = returnDialog($, showChange);

  async function load() {
    const query = new URLSearchParams({ simulated: String(simulated.checked), ...(batch.value && { batch: batch.value }) });
    /** @type {ProjectOut} */
    const loaded = await call(`/api/research/project?${query}`);
    data = loaded;
    showBatchChoice(loaded.batches);
    showFigures(loaded);
    showHours($(".hours"), loaded.per_hour);
    showDays($(".days"), loaded.agreement_over_time);
    showAgreement(loaded);
    showReasons($(".reasons-chart"), loaded.reasons);
    showBatches(loaded.batches);
    showPauses(loaded.pauses);
    showAnnotators(loaded.annotators);
    $("main").hidden = false;
    showMessage("");
  }

  /** @param {BatchRow[]} batches */
  function showBatchChoice(batches) {
    const chosen = batch.value || parameters.get("batch") || "";
    batch.replaceChildren(
      make("option", { value: "", textContent: say("all votes") }),
      ...batches.map(({ name }) => make("option", { value: name, textContent: name })));
    batch.value = chosen;
  }

  /** @param {ProjectOut} project */
  function showFigures({ votes, votes_required: required, acceptance, agreement, flags, left }) {
    const alpha = agreement.find((row) => row.name === "Krippendorff's alpha");
    const remaining = left.hours === null ? "–" : `${left.hours.toFixed(1)} h`;
    const cost = left.hours === null ? "–" : (left.hours * Number(wage.value)).toFixed(2);
    const rows = [
      [count(votes), say("of {n} votes", { n: count(required) })],
      [share(acceptance), say("accepted")],
      alpha
        ? [two(alpha.value), say("Krippendorff's alpha, {low} to {high}", { low: two(alpha.low), high: two(alpha.high) })]
        : ["–", say("Agreement: no triple has two votes yet")],
      [seconds(left.pace_ms), say("median time per vote")],
      [remaining, say("time remaining for {n} votes", { n: count(left.votes) })],
      [cost, say("cost remaining at {wage} per hour", { wage: Number(wage.value) })],
      [String(flags), say("open flags")],
    ];
    $(".figures").replaceChildren(...rows.map(([value, label]) =>
      make("div", {}, make("b", { textContent: value }), make("span", { textContent: label }))));
  }

  /** @param {ProjectOut} project */
  function showAgreement({ agreement }) {
    $(".coefficients").replaceChildren(...agreement.map(({ name, value, low, high }) => {
      const interval = numberCell(say("{low} to {high}", { low: two(low), high: two(high) }));
      interval.classList.add("quiet");
      return make("tr", {}, make("th", { scope: "row", textContent: say(name) }), numberCell(two(value)), interval);
    }));
  }

  // ---- tables
  /**
   * @param {string} text
   * @param {() => Promise<unknown>} act
   */
  function button(text, act) {
    return make("button", { type: "button", textContent: text, onclick: () => act().then(load).catch(showError) });
  }

  /**
   * A button that opens a dialog.
   * @param {string} text
   * @param {() => void} show
   */
  function opener(text, show) {
    return make("button", { type: "button", textContent: text, onclick: show });
  }

  /** @param {BatchRow[]} batches */
  function showBatches(batches) {
    const head = ["Name", "Triples", "Votes", "Order", "Hidden gold", "Min. gold accuracy", ""];
    fillTable($(".batches", HTMLTableElement), head, batches.map((row) => [
      row.name,
      numberCell(count(row.triples)),
      numberCell(say("{n} of {required}", { n: row.votes, required: row.votes_required })),
      orderText(row),
      numberCell(share(row.gold_rate)),
      numberCell(row.min_gold_accuracy ? share(row.min_gold_accuracy) : "–"),
      [
        ...(row.open ? [button(say("Close"), () => call(`/api/research/batches/${encodeURIComponent(row.name)}`, { open: false }, "PATCH")), " "] : []),
        opener(row.open ? say("Extend…") : say("Reopen…"), () => changeBatch(row)),
      ],
    ]));
  }

  /** @param {PauseRow[]} pauses */
  function showPauses(pauses) {
    $(".pauses").hidden = !pauses.length;
    const head = ["Name", "Batch", "Reason", "Since", ""];
    fillTable($(".pauses table", HTMLTableElement), head, pauses.map((pause) => [
      pause.person, pause.batch, pause.reason, new Date(pause.created).toLocaleString(),
      button(say("Lift pause"), () => call(`/api/research/pauses/${pause.id}/lift`, {})),
    ]));
  }

  /** @param {AnnotatorRow[]} annotators */
  function showAnnotators(annotators) {
    const head = ["Name", "Votes", "Skips", "Acceptance rate", "Agrees with majority", "Gold accuracy", "Median time", "Too fast", ""];
    fillTable($(".annotators", HTMLTableElement), head, annotators.map((row) => [
      row.simulated ? [row.name, small(` ${say("simulated")}`)] : row.name,
      numberCell(String(row.votes)),
      numberCell(String(row.skips)),
      numberCell(share(row.acceptance)),
      numberCell(share(row.with_majority)),
      numberCell(...goldAccuracy(row)),
      numberCell(seconds(row.pace_ms)),
      numberCell(share(row.too_fast)),
      row.paused ? small(say("paused")) : annotatorButtons(row),
    ]));
  }

  /**
   * A pause is for one batch, and so are votes that are sent back: the buttons need a chosen one.
   * @param {AnnotatorRow} row
   */
  function annotatorButtons(row) {
    if (!batch.value || row.simulated) return "";
    return [
      opener(say("Send back…"), () => returnVotes(batch.value, row)), " ",
      button(say("Pause"), () => call("/api/research/pauses", {
        person: row.id, batch: batch.value, reason: say("A researcher has paused you in this batch."),
      })),
    ];
  }

  // ---- wiring
  for (const field of [batch, simulated]) field.addEventListener("change", () => load().catch(showError));
  wage.addEventListener("input", () => {
    localStorage.setItem(WAGE, wage.value);
    if (data) showFigures(data);
  });
  onAction(root, async (action, self) => {
    if (action === "new") $("dialog.new", HTMLDialogElement).showModal();
    if (action === "close") self.closest("dialog")?.close();
    if (action === "guidelines") {
      try {
        /** @type {Guidelines} */
        const { text } = await call("/api/guidelines");
        $("dialog.guidelines textarea", HTMLTextAreaElement).value = text;
        $("dialog.guidelines", HTMLDialogElement).showModal();
      } catch (error) {
        showError(error);
      }
    }
  });

  /**
   * @param {string} dialog
   * @param {(fields: Record<string, string>) => Promise<unknown>} send
   */
  function addForm(dialog, send) {
    onSubmit($(`${dialog} form`, HTMLFormElement), async (fields) => {
      try {
        await send(Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== "")));
        $(dialog, HTMLDialogElement).close();
        await load();
      } catch (error) {
        $(`${dialog} .alarm`).textContent = messageOf(error);
      }
    });
  }

  addForm("dialog.new", (fields) => call("/api/research/batches", fields));
  addForm("dialog.guidelines", (fields) => call("/api/research/guidelines", fields, "PUT"));
  load().catch(showError);
}

/** @param {BatchRow} batch */
function orderText({ ordering, random_share: random }) {
  if (ordering === "random") return say("random");
  return say("{order}, {share} random", { order: say(ORDERS[ordering]), share: share(random) });
}

/** @param {string} text */
const small = (text) => make("small", { textContent: text });

/** @param {AnnotatorRow} row */
function goldAccuracy({ gold, gold_interval: [low, high], gold_judged: judged }) {
  if (gold === null) return ["–"];
  const interval = say("{low} to {high}", { low: share(low), high: share(high) });
  return [share(gold), small(` ${interval} · ${say("{n} judged", { n: judged })}`)];
}
