// @ts-check
/** The dialog of a person's own votes, which they can change. */

import { write } from "../../canvas/chips.js";
import { call } from "../shared/api.js";
import { DECISIONS, REASONS } from "../shared/decisions.js";
import { make, messageOf } from "../shared/dom.js";
import { say } from "../shared/language.js";
import { fresh } from "./tab.js";
import { imageUrl } from "../shared/urls.js";

/** @import { Find } from "../shared/dom.js" */
/** @import { HistoryRow } from "../shared/payloads.d.ts" */
/** @typedef {(vote: HistoryRow, key: string) => void} OnChanged The new key of a vote that was changed. */

const PAGE = 20;

/** @type {[value: string, text: string][]} */
const CHOICES = [
  ["accept", DECISIONS.accept],
  ...REASONS.map(([name, text]) => /** @type {[string, string]} */ ([`reject:${name}`, `reject: ${text}`])),
  ["reject", DECISIONS.reject],
  ["skip", DECISIONS.skip],
];

/**
 * Show a page of votes; `before` is the last one of the page before it.
 * @param {Find} find
 * @param {string} batch
 * @param {string} before an id; empty for the newest votes
 * @param {() => number | null} guideline
 * @param {OnChanged} onChanged
 */
export async function showHistory(find, batch, before, guideline, onChanged) {
  const rows = find("dialog.history .rows");
  if (!before) rows.replaceChildren();
  const query = new URLSearchParams({ batch, limit: String(PAGE), ...(before && { before }) });
  /** @type {HistoryRow[]} */
  const votes = await call(`/api/history?${query}`);
  if (!before) rows.replaceChildren(); // filled meanwhile, if the dialog was closed and opened again
  rows.append(...votes.map((vote) => historyRow(find, vote, guideline, onChanged)));
  const older = find("[data-do=older]");
  older.hidden = votes.length < PAGE;
  older.dataset.before = String(votes.at(-1)?.id ?? "");
  if (!rows.children.length) rows.append(make("p", { className: "quiet", textContent: say("No votes yet.") }));
}

/**
 * @param {Find} find
 * @param {HistoryRow} vote
 * @param {() => number | null} guideline
 * @param {OnChanged} onChanged
 */
function historyRow(find, vote, guideline, onChanged) {
  const { item } = vote;
  const known = new Set(item.regions.map((region) => region.number));
  const texts = [item.question, item.answer, item.rationale].map((text) => {
    const line = make("p", { className: "words" });
    write(line, text, known);
    return line;
  });
  const translated = (/** @type {string} */ text) => text.split(": ").map((part) => say(part)).join(": ");
  const choice = make("select", { ariaLabel: say("your vote"), disabled: !vote.can_change },
    ...CHOICES.map(([value, text]) => make("option", { value, textContent: translated(text) })));
  choice.value = [vote.decision, ...vote.reasons.slice(0, 1)].join(":");
  const image = make("img", { src: imageUrl(item.image, 160), alt: "", loading: "lazy" });
  const row = make("article", {}, image, make("div", {}, ...texts), choice);
  choice.addEventListener("change", async () => {
    const [decision, reason] = choice.value.split(":");
    const key = fresh();
    try {
      await call("/api/corrections", {
        key, replaces: vote.key, decision, reasons: reason ? [reason] : [], guideline: guideline(),
      });
      vote.key = key;
      onChanged(vote, key);
      row.classList.add("changed");
    } catch (error) {
      find("dialog.history .alarm").textContent = say(messageOf(error));
    }
  });
  return row;
}
