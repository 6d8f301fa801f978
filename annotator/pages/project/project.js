// @ts-check
/** The project page: shows the statistics that annotator/statistics/project.py computes. */

import { call } from "../shared/api.js";
import { finder, make, messageOf, onAction, onSubmit } from "../shared/dom.js";
import { count, seconds, share, two } from "../shared/format.js";
import { say } from "../shared/language.js";
import { begin } from "../shared/session.js";
import { fillTable, numberCell } from "../shared/tables.js";
import { keepLive } from "../shared/live.js";
import { downloadPng } from "../shared/png.js";
import { ROOT } from "../shared/urls.js";
import { changeDialog, goldDialog, priceDialog, returnDialog } from "./changes.js";
import { showDays, showDrift, showHours, showReasons } from "./charts.js";

/** @import { AnnotatorRow, BatchRow, ConfusionRow, Cost, Drift, Guidelines, PauseRow, ProjectOut, Rate } from "../shared/payloads.d.ts" */

const KNOWN = { gold: "gold", adjudication: "adjudication" };
const ORDERS = {
  uncertain: "critic's least certain first",
  disagreed: "most disagreement first",
  information: "most informative for each person first",
};

/** @param {HTMLElement} root */
export async function open(root) {
  const $ = finder(root);
  await begin(root);
  const parameters = new URLSearchParams(location.search);
  const batch = $("[name=batch]", HTMLSelectElement);
  const simulated = $("[name=simulated]", HTMLInputElement);
  const driftChoice = $("[name=drift]", HTMLSelectElement);
  const requested = parameters.get("batch") ?? "";
  choose(batch, [[requested, requested]], requested);
  simulated.checked = parameters.get("simulated") === "true";
  /** @type {ProjectOut | null} */
  let data = null;

  /** @param {string} text */
  const showMessage = (text) => { $(".message").textContent = text; };
  /** @param {unknown} error */
  const showError = (error) => showMessage(messageOf(error));
  /** @param {string} done */
  const showChange = (done) => load().then(() => { $(".done").textContent = done; }, showError);
  const changeBatch = changeDialog($, showChange), returnVotes = returnDialog($, showChange), setPrice = priceDialog($, showChange);
  const importGold = goldDialog($, showChange);

  async function load() {
    const query = new URLSearchParams({ simulated: String(simulated.checked), ...(batch.value && { batch: batch.value }) });
    /** @type {ProjectOut} */
    const loaded = await call(`/api/research/project?${query}`);
    data = loaded;
    $("main").hidden = false; // before the charts, which fill their places
    showDownloads(query);
    showBatchChoice(loaded.batches);
    showFigures(loaded);
    showHours($(".hours"), loaded.per_hour);
    showDays($(".days"), loaded.agreement_over_time);
    showAgreement(loaded);
    showReasons($(".reasons-chart"), loaded.reasons);
    showBatches(loaded.batches);
    showPauses(loaded.pauses);
    showAnnotators(loaded.annotators);
    showDriftOf(loaded.drift);
    showCost(loaded.cost);
    showConfusion(loaded.confusion);
    showMessage("");
  }

  /** @param {BatchRow[]} batches */
  function showBatchChoice(batches) {
    choose(batch, [["", say("all votes")], ...batches.map(({ name }) => /** @type {[string, string]} */ ([name, name]))], batch.value);
  }

  /** @param {ProjectOut} project */
  function showFigures({ votes, votes_required: required, acceptance, agreement, flags, left, cost }) {
    const alpha = agreement.find((row) => row.name === "Krippendorff's alpha");
    const remaining = left.hours === null ? "–" : `${left.hours.toFixed(1)} h`;
    const rows = [
      [count(votes), say("of {n} votes", { n: count(required) })],
      [share(acceptance), say("accepted")],
      alpha
        ? [two(alpha.value), say("Krippendorff's alpha, {low} to {high}", { low: two(alpha.low), high: two(alpha.high) })]
        : ["–", say("Agreement: no triple has two votes yet")],
      [seconds(left.pace_ms), say("median time per vote")],
      [remaining, say("time remaining for {n} votes", { n: count(left.votes) })],
      [amount(cost.so_far), say("cost so far")],
      [amount(cost.to_come), say("cost to come")],
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

  /** @param {URLSearchParams} query */
  function showDownloads(query) {
    for (const link of root.querySelectorAll("a[data-csv]")) {
      if (link instanceof HTMLAnchorElement) link.href = `${ROOT}/api/research/project/${link.dataset.csv}.csv?${query}`;
    }
  }

  /** @param {Drift[]} all */
  function showDriftOf(all) {
    choose(driftChoice, all.map(({ id, name }) => [String(id ?? ""), name || say("everybody, by week")]), driftChoice.value);
    const chosen = all.find(({ id }) => String(id ?? "") === driftChoice.value);
    showDrift($(".chart.drift"), chosen);
    $(".drift-choice").hidden = $(".legend").hidden = !all.length;
    $(".legend").replaceChildren(
      make("b", { className: "first", textContent: say("Agrees with the others") }), " · ",
      make("b", { className: "second", textContent: say("Right on known answers") }),
      ` · ${say("Bars are 95 % intervals; a point of a person is about 50 votes.")}`);
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
    const head = ["Name", "Triples", "Votes", "Order", "Hidden gold", "Min. gold accuracy", "Price", ""];
    fillTable($(".batches", HTMLTableElement), head, batches.map((row) => [
      row.name,
      numberCell(count(row.triples)),
      numberCell(say("{n} of {required}", { n: row.votes, required: row.votes_required })),
      orderText(row),
      numberCell(share(row.gold_rate)),
      numberCell(row.min_gold_accuracy ? share(row.min_gold_accuracy) : "–"),
      [opener(row.price === null ? say("Set…") : priceText(row), () => setPrice(row))],
      [
        ...(row.open ? [button(say("Close"), () => call(`/api/research/batches/${encodeURIComponent(row.name)}`, { open: false }, "PATCH")), " "] : []),
        opener(row.open ? say("Extend…") : say("Reopen…"), () => changeBatch(row)),
      ],
    ]));
  }

  /** @param {Cost} cost */
  function showCost({ batches, unpriced_batches: unpriced }) {
    const head = ["Batch", "Votes", "Hours", "So far", "Missing votes", "To come"];
    fillTable($(".cost", HTMLTableElement), head, batches.map((row) => [
      row.batch, numberCell(count(row.votes)), numberCell(row.hours.toFixed(1)), numberCell(amount(row.so_far)),
      numberCell(count(row.missing_votes)), numberCell(amount(row.to_come)),
    ]));
    $(".unpriced").textContent = unpriced ? say("Batches without a price: {n}. Set it in the table of batches.", { n: unpriced }) : "";
  }

  /** @param {ConfusionRow[]} rows */
  function showConfusion(rows) {
    $(".confusion-card").hidden = !rows.length;
    const head = ["Name", "Known from", "Right", "Accepts what is right", "Rejects what is wrong"];
    fillTable($(".confusion", HTMLTableElement), head, rows.map((row) => [
      row.name, say(KNOWN[row.against]), numberCell(...rateCell(row.accuracy)), numberCell(...rateCell(row.accepts)), numberCell(...rateCell(row.rejects)),
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
  driftChoice.addEventListener("change", () => { if (data) showDriftOf(data.drift); });
  onAction(root, async (action, self) => {
    if (action === "new") $("dialog.new", HTMLDialogElement).showModal();
    if (action === "gold") importGold();
    if (action === "png") {
      const section = self.closest("section"), svg = section?.querySelector("svg");
      if (svg) downloadPng(svg, section?.getAttribute("aria-label") ?? "chart").catch(showError);
    }
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
  await load().catch(showError);
  keepLive(root, async () => (await call("/api/research/project/version")).version, load);
}

/**
 * Fill a choice if its options have changed: one that is open stays open.
 * @param {HTMLSelectElement} select
 * @param {[value: string, text: string][]} options
 * @param {string} value
 */
function choose(select, options, value) {
  const shown = [...select.options].map((option) => [option.value, option.textContent]);
  if (JSON.stringify(shown) !== JSON.stringify(options)) {
    select.replaceChildren(...options.map(([key, textContent]) => make("option", { value: key, textContent })));
  }
  select.value = options.some(([key]) => key === value) ? value : options[0]?.[0] ?? "";
}

/** @param {number | null} value */
const amount = (value) => (value === null ? "–" : value.toFixed(2));

/** @param {BatchRow} row */
const priceText = ({ price, price_unit: unit }) => (unit === "vote" ? say("{price} per vote", { price }) : say("{price} per hour", { price }));

/** @param {Rate} rate */
function rateCell({ value, low, high, correct, judged }) {
  if (value === null) return ["–"];
  return [share(value), small(` ${say("{low} to {high}", { low: share(low), high: share(high) })} · ${correct}/${judged}`)];
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
