// @ts-check
/** A crowd study on the people page: links, places, its workers, and the files for their platform. */

import { call } from "../shared/api.js";
import { make, messageOf, onSubmit } from "../shared/dom.js";
import { seconds, share } from "../shared/format.js";
import { say } from "../shared/language.js";
import { fillTable, numberCell } from "../shared/tables.js";
import { ROOT } from "../shared/urls.js";

/** @import { PeopleOut, StudyRow, WorkerRow } from "../shared/payloads.d.ts" */
/** @typedef {(work: Promise<unknown>) => Promise<void>} Act Waits for a change, then loads the page again. */

/** @type {[platform: string, file: string, text: string][]} */
const FILES = [
  ["prolific", "approve.csv", "Prolific: approve"],
  ["prolific", "reject.csv", "Prolific: reject"],
  ["prolific", "bonus.csv", "Prolific: bonus"],
  ["mturk", "results.csv", "Mechanical Turk: results"],
  ["mturk", "bonus.csv", "Mechanical Turk: bonus"],
];
const RULES = { min_gold_accuracy: "Minimum gold accuracy", max_too_fast: "Maximum of too fast votes", bonus: "Bonus", bonus_per_vote: "Bonus per vote", bonus_gold_accuracy: "Gold accuracy for the bonus" };
const SHARES = new Set(["min_gold_accuracy", "max_too_fast", "bonus_gold_accuracy"]);

/**
 * @param {StudyRow} study
 * @param {PeopleOut["platforms"]} platforms
 * @param {Act} act
 */
export function studyCard(study, platforms, act) {
  const path = `/api/admin/studies/${study.id}`;
  /**
   * @param {string} text
   * @param {() => Promise<unknown>} send
   */
  const button = (text, send) => make("button", { type: "button", className: "plain", textContent: text, onclick: () => act(send()) });
  const links = Object.entries(platforms).map(([platform, parameters]) => make("details", {},
    make("summary", { textContent: say(platform) }), make("code", { textContent: studyLink(study, platform, parameters) })));
  return make("article", {},
    make("b", { textContent: study.name }), ` · ${study.batch} · ${say("{quota} per worker · {came} joined, {finished} finished · code", study)} ${study.code} `,
    button(study.open ? say("Close") : say("Reopen"), () => call(path, { open: !study.open }, "PATCH")),
    button(study.signed ? say("Allow unsigned links") : say("Require signed links"), () => call(path, { signed: !study.signed }, "PATCH")),
    placesForm(study, (maxWorkers) => act(call(path, { max_workers: maxWorkers }, "PATCH"))),
    ...(study.signed ? [secretOf(path)] : []),
    ...links,
    workersOf(study, path, act));
}

/**
 * @param {StudyRow} study
 * @param {(maxWorkers: number) => void} send
 */
function placesForm(study, send) {
  const places = make("input", { type: "number", name: "places", min: "1", required: true, value: String(study.max_workers ?? "") });
  const form = make("form", { className: "row places" },
    make("label", {}, make("span", { textContent: say("Maximum of workers") }), " ", places),
    make("button", { type: "submit", textContent: say("Save") }));
  onSubmit(form, () => send(Number(places.value)));
  return form;
}

/** @param {string} path */
function secretOf(path) {
  const code = make("code");
  const details = make("details", {}, make("summary", { textContent: say("Key that signs the links") }), code);
  details.addEventListener("toggle", async () => {
    if (!details.open || code.textContent) return;
    code.textContent = await call(`${path}/secret`).then(({ secret }) => secret, messageOf);
  });
  return details;
}

/**
 * The workers, which are loaded when they are asked for.
 * @param {StudyRow} study
 * @param {string} path
 * @param {Act} act
 */
function workersOf(study, path, act) {
  const table = make("table"), alarm = make("p", { className: "alarm" });
  const details = make("details", { className: "workers" }, make("summary", { textContent: say("Workers and payment") }),
    make("div", { className: "scroll" }, table), alarm, reviewForm(path));
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    try {
      /** @type {WorkerRow[]} */
      const workers = await call(`${path}/workers`);
      const head = ["Worker", "Votes", "Skips", "Gold accuracy", "Too fast", "Median time", "Minutes", "Finished", ""];
      fillTable(table, head, workers.map((row) => [
        row.worker,
        numberCell(String(row.votes)),
        numberCell(String(row.skips)),
        numberCell(row.gold === null ? "–" : `${share(row.gold)} (${row.gold_correct}/${row.gold_judged})`),
        numberCell(share(row.too_fast)),
        numberCell(seconds(row.pace_ms)),
        numberCell(row.minutes.toFixed(1)),
        row.finished ? new Date(row.finished).toLocaleString() : row.paused ? say("paused") : "–",
        row.bound ? make("button", {
          type: "button", textContent: say("Release"), title: say("Let this worker continue in another browser"),
          onclick: () => act(call(`${path}/release`, { worker: row.worker })),
        }) : "",
      ]));
    } catch (error) {
      alarm.textContent = messageOf(error);
    }
  });
  details.dataset.study = study.name;
  return details;
}

/**
 * The rules of payment, and links to the files that apply them.
 * @param {string} path
 */
function reviewForm(path) {
  const fields = Object.entries(RULES).map(([name, label]) => make("label", {}, make("span", { textContent: say(label) }), " ",
    make("input", { type: "number", name, min: "0", step: "any", placeholder: "–", ...(SHARES.has(name) && { max: "1" }) })));
  const form = make("form", { className: "row review" }, ...fields);
  const links = FILES.map(([platform, file, text]) => {
    const link = make("a", { className: "button plain", textContent: say(text), download: `${platform}-${file}` });
    link.addEventListener("click", () => {
      const rules = [...new FormData(form)].filter(([, value]) => value !== "");
      link.href = `${ROOT}${path}/review/${platform}/${file}?${new URLSearchParams(rules.map(([name, value]) => [name, String(value)]))}`;
    });
    link.href = `${ROOT}${path}/review/${platform}/${file}`;
    return link;
  });
  return make("div", {}, make("p", { className: "quiet", textContent: say("Approved is who has finished and satisfies the rules; nothing is sent to the platform.") }),
    form, make("div", { className: "row" }, ...links));
}

/**
 * The link of a study, with the parameters that a platform fills in.
 * @param {StudyRow} study
 * @param {string} platform
 * @param {string[]} parameters
 */
function studyLink(study, platform, parameters) {
  const blank = (/** @type {string} */ name) => (platform === "Prolific" ? `{{%${name}%}}` : "…");
  const signature = study.signed ? "&signature=…" : "";
  return `${location.origin}${ROOT}/join/${study.link}?${parameters.map((name) => `${name}=${blank(name)}`).join("&")}${signature}`;
}
