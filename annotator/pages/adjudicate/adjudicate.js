// @ts-check
/** The adjudication page: decides triples that annotators disagree on or have flagged. */

import { Canvas } from "../../canvas/canvas.js";
import { write } from "../../canvas/chips.js";
import { call } from "../shared/api.js";
import { DECISIONS, ReasonPicker, REASONS, reasonText } from "../shared/decisions.js";
import { finder, make, messageOf, onAction } from "../shared/dom.js";
import { commandOf, onCommand } from "../shared/keyboard.js";
import { say } from "../shared/language.js";
import { picture } from "../shared/picture.js";
import { begin } from "../shared/session.js";

/** @import { Command } from "../shared/keyboard.js" */
/** @import { AdjudicationOut, AnonymousVote, PendingTriple, PendingTriples, Reason } from "../shared/payloads.d.ts" */

const KEY_OF_ACTION = { accept: "a", reject: "r", skip: "s", undo: "u" };
const LIMIT = 100;

/** @param {HTMLElement} root */
export async function open(root) {
  const $ = finder(root);
  const canvas = new Canvas($(".picture"));
  await begin(root);
  const note = $("[name=note]", HTMLInputElement);
  const reasons = new ReasonPicker($, pickReason);
  const simulated = new URLSearchParams(location.search).get("simulated") === "true";
  /** @type {PendingTriple[]} */
  let queue = [];
  let waiting = 0;
  /** @type {PendingTriple | null} */
  let last = null;
  const skipped = new Set();

  /** @param {string} text */
  function showMessage(text) {
    $(".message").textContent = text;
  }

  async function load() {
    /** @type {PendingTriples} */
    const pending = await call(`/api/research/adjudication?limit=${LIMIT}&simulated=${simulated}`);
    waiting = pending.waiting;
    queue = pending.triples.filter((item) => !skipped.has(item.triple));
    show();
  }

  function show() {
    const item = queue[0];
    $("main").hidden = !item;
    $(".empty").hidden = Boolean(item);
    $(".status").replaceChildren(
      make("span", {}, make("b", { textContent: String(waiting) }), ` ${say("to adjudicate")}`),
      ...(simulated ? [make("span", { className: "alarm", textContent: say("includes simulated votes") })] : []));
    $("[data-do=undo]", HTMLButtonElement).disabled = !last;
    if (!item) {
      $(".empty h1").textContent = skipped.size ? say("Only skipped triples are left") : say("Nothing to adjudicate");
      $(".empty p").textContent = say("Triples appear here when annotators disagree on them or flag them.");
      return;
    }
    canvas.show(item, picture(item.image, $(".picture").clientWidth || innerWidth));
    const known = new Set(item.regions.map((region) => region.number));
    for (const part of /** @type {const} */ (["question", "answer", "rationale"])) {
      write($(`.words.${part}`), item[part], known, canvas);
    }
    $(".flags").replaceChildren(...item.flags.map((flag) => make("p", { className: "note", textContent: say("Flagged: {note}", { note: flag }) })));
    $(".votes").replaceChildren(...item.votes.map(voteRow));
    note.value = "";
    reasons.set(null);
  }

  /**
   * @param {AnonymousVote} vote
   * @param {number} i
   */
  function voteRow(vote, i) {
    const why = vote.decision === "accept" ? "" : vote.reasons.map(reasonText).join(", ") || say("no reason");
    const time = vote.duration_ms === null ? "" : ` · ${Math.round(vote.duration_ms / 1000)} s`;
    return make("li", { className: vote.decision, id: `vote-${vote.id}` },
      make("b", { textContent: say(DECISIONS[vote.decision]) }),
      make("span", { textContent: why }),
      make("small", { textContent: `${say("annotator {n}", { n: i + 1 })}${time}` }));
  }

  /**
   * @param {"accept" | "reject"} decision
   * @param {Reason[]} because
   */
  async function decide(decision, because = []) {
    const item = queue[0];
    if (!item) return;
    try {
      /** @type {AdjudicationOut} */
      const { names } = await call("/api/research/adjudication", { triple: item.triple, decision, reasons: because, note: note.value });
      last = item;
      queue.shift();
      waiting -= 1;
      show();
      const votes = item.votes.map((vote) => `${names[vote.id]}: ${say(DECISIONS[vote.decision])}`).join(" · ");
      showMessage(`${decision === "accept" ? say("Accepted. Votes:") : say("Rejected. Votes:")} ${votes}`);
      if (!queue.length && waiting > skipped.size) await load();
    } catch (error) {
      showMessage(messageOf(error));
    }
  }

  /** @param {number} index */
  function pickReason(index) {
    const reason = REASONS[index]?.[0];
    if (reason) decide("reject", [reason]);
  }

  async function undo() {
    if (!last) return;
    try {
      await call(`/api/research/adjudication/${last.triple}`, {}, "DELETE");
    } catch (error) {
      return showMessage(messageOf(error));
    }
    queue.unshift(last);
    waiting += 1;
    last = null;
    show();
    showMessage(say("Undone"));
  }

  function skip() {
    const item = queue.shift();
    if (!item) return;
    skipped.add(item.triple);
    show();
  }

  /** @type {Record<string, () => unknown>} */
  const actions = {
    accept: () => decide("accept"),
    reject: () => (reasons.chosen === null ? reasons.set([]) : decide("reject", reasons.chosen)),
    skip,
    undo,
  };

  /** @param {Command} command */
  function run(command) {
    if (command.do === "action") actions[command.name]?.();
    else if (command.do === "reason") pickReason(command.index);
    else if (command.do === "cancel") reasons.set(null);
    else if (command.do === "step") canvas.step(command.by);
  }

  onAction(root, (action) => actions[action]?.());
  onCommand(root, (press) => commandOf(press, KEY_OF_ACTION, reasons.chosen), run);
  load().catch((error) => showMessage(messageOf(error)));
}
