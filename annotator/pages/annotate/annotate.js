// @ts-check
/** The annotation page: prefetches items, shows the next one at once, and saves votes through the outbox. */

import { Canvas } from "../../canvas/canvas.js";
import { write } from "../../canvas/chips.js";
import { call } from "../shared/api.js";
import { ReasonPicker, REASONS } from "../shared/decisions.js";
import { finder, make, messageOf, onAction, onSubmit } from "../shared/dom.js";
import { commandOf, onCommand } from "../shared/keyboard.js";
import { say } from "../shared/language.js";
import { picture } from "../shared/picture.js";
import { begin } from "../shared/session.js";
import { ActiveTime, pace } from "./clock.js";
import { showHistory } from "./history.js";
import { Outbox } from "./outbox.js";
import { addSettings } from "./settings.js";
import { claimTab, fresh, openTabs } from "./tab.js";
import { ROOT } from "../shared/urls.js";

/** @import { Decision } from "../shared/decisions.js" */
/** @import { Command } from "../shared/keyboard.js" */
/** @import { BatchProgress, Guidelines, ItemPayload, NextOut, Reason, TrainingFeedback } from "../shared/payloads.d.ts" */
/** @import { Vote } from "./outbox.js" */
/** @typedef {ItemPayload & {img: HTMLImageElement}} Item */

const AHEAD = 4;
const STATUS_MS = 500;

/** @param {HTMLElement} root */
export async function open(root) {
  const $ = finder(root);
  const main = $("main");
  const me = await begin(root);
  const tab = await claimTab();
  const canvas = new Canvas($(".picture"));
  const reasons = new ReasonPicker($, pickReason);
  const time = new ActiveTime(() => performance.now());
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
    addEventListener(kind, () => time.record(), { passive: true });
  }

  /** @type {BatchProgress | null} */
  let batch = null;
  /** @type {number | null} */
  let guideline = null;
  /** @type {Item[]} Items to judge; the first one is on the screen. */
  let queue = [];
  /** @type {Item | null} */
  let shown = null;
  let finished = false; // no more items will come: paused, closed or complete
  /** @type {number[]} Of the votes of this visit, in milliseconds. */
  const durations = [];
  /** @type {{item: Item, vote: Vote}[]} Votes of this visit, for undo. */
  const past = [];

  const outbox = new Outbox(tab, {
    send: (vote) => {
      const ahead = vote.batch === batch?.name && !finished ? AHEAD + outbox.votes.length - 1 : 0;
      return call("/api/votes", { ...vote, tab, ahead });
    },
    saved: (vote, answer) => {
      if (answer.feedback) showFeedback(answer.feedback);
      if (vote.batch === batch?.name) enqueue(answer.items);
      if (answer.paused) load();
    },
    lost: (_, error) => showMessage(say(error.message)),
    changed: () => {
      showStatus();
      if (!queue.length && !outbox.votes.length && !outbox.sending && batch && !finished) load();
    },
  }, {
    storage: localStorage,
    openTabs,
    sleep: (ms) => new Promise((done) => setTimeout(done, ms)),
    now: () => performance.now(),
  });
  addEventListener("online", () => outbox.flush());
  addEventListener("beforeunload", (event) => { if (outbox.votes.length) event.preventDefault(); });

  // ---- items
  /** @param {ItemPayload[]} items */
  function enqueue(items) {
    const known = new Set([...queue, ...outbox.votes].map((item) => item.triple));
    const width = $(".picture").clientWidth || innerWidth;
    for (const item of items) {
      if (!known.has(item.triple)) queue.push({ ...item, img: picture(item.image, width) });
    }
    if (queue.length && queue[0] !== shown) show();
  }

  async function load() {
    try {
      const requested = new URLSearchParams(location.search).get("batch");
      // No triple is shown before the guidelines are known: a vote records their version.
      if (guideline === null) await loadGuidelines();
      /** @type {BatchProgress[]} */
      const batches = await call("/api/batches");
      const chosen = batches.find((b) => b.name === requested) ?? batches.find((b) => b.open && b.left > 0) ?? batches[0];
      if (!chosen) {
        return showEmpty(say("Nothing to label yet"), say("Import triples with lskd import, then create a batch with lskd batch NAME."));
      }
      const query = new URLSearchParams({ batch: chosen.name, tab, count: String(AHEAD + outbox.votes.length) });
      /** @type {NextOut} */
      const answer = await call(`/api/next?${query}`);
      batch = answer.batch;
      if (answer.quota !== null) batch.total = Math.min(batch.total, answer.quota);
      finished = !answer.items.length;
      enqueue(answer.items);
      if (!queue.length && !outbox.votes.length) showEnd(answer);
      showStatus();
    } catch (error) {
      showEmpty(say("The app is not responding"), messageOf(error));
    }
  }

  /**
   * Say why there is no next item.
   * @param {NextOut} answer
   */
  function showEnd({ batch: { name, mine, total, open: isOpen }, paused, finish }) {
    const done = say("You have judged {n} of {total} triples in {batch}.", { n: mine, total, batch: name });
    if (paused) return showEmpty(say("Paused"), `${say(paused)} ${say("A researcher can let you continue.")}`);
    if (finish) {
      const link = finish.url.startsWith("https://") ? finish.url : "";
      return showEmpty(say("All done. Thank you!"), say("Your completion code: {code}", { code: finish.code }), link, say("Return to the study"));
    }
    if (!isOpen) return showEmpty(say("This batch is closed"), done);
    const title = mine ? say("All done. Thank you!") : say("Nothing left to label");
    if (me.role === "annotator") showEmpty(title, done);
    else showEmpty(title, done, `${ROOT}/critic/`, say("Go to the critic"));
  }

  /**
   * @param {string} title
   * @param {string} text
   * @param {string} href
   * @param {string} label
   */
  function showEmpty(title, text, href = "", label = "") {
    main.hidden = true;
    $(".empty").hidden = false;
    $(".empty h1").textContent = title;
    $(".empty p").textContent = text;
    const link = $(".empty a", HTMLAnchorElement);
    link.hidden = !href;
    link.href = href;
    link.textContent = label;
    shown = null;
    showStatus();
  }

  function show() {
    const item = queue[0];
    if (!item) return;
    main.hidden = false;
    main.style.visibility = "";
    $(".empty").hidden = true;
    shown = item;
    canvas.show(item, item.img);
    const known = new Set(item.regions.map((region) => region.number));
    for (const part of /** @type {const} */ (["question", "answer", "rationale"])) {
      write($(`.words.${part}`), item[part], known, canvas);
    }
    const returned = $(".returned");
    returned.hidden = !item.note;
    returned.textContent = item.note ? say("Please judge this triple again: {note}", { note: item.note }) : "";
    reasons.set(null);
    time.restart();
    root.dispatchEvent(new CustomEvent("shown", { bubbles: true, detail: item.triple }));
  }

  // ---- deciding
  /**
   * @param {Decision} decision
   * @param {Reason[]} because
   */
  function decide(decision, because = []) {
    const item = queue.shift();
    if (!item || !batch) return;
    const duration = time.read();
    durations.push(duration);
    /** @type {Vote} */
    const vote = {
      key: fresh(), batch: item.batch, triple: item.triple, decision, reasons: because,
      duration_ms: Math.round(duration), guideline,
    };
    past.push({ item, vote });
    if (decision !== "skip") batch.mine += 1;
    batch.left = Math.max(0, batch.left - 1);
    showMessage("");
    $(".feedback").hidden = true;
    if (queue.length) show();
    else main.style.visibility = "hidden";
    outbox.add(vote);
    showStatus();
  }

  async function undo() {
    const last = past.pop();
    if (!last || !batch) return;
    try {
      if (!outbox.take(last.vote)) {
        await outbox.idle();
        await call("/api/undo", { key: last.vote.key, tab });
      }
      if (last.vote.decision !== "skip") batch.mine -= 1;
      batch.left += 1;
      finished = false;
      queue = [last.item, ...queue.filter((item) => item.triple !== last.item.triple)];
      show();
      showMessage(say("Undone"));
    } catch (error) {
      showMessage(say(messageOf(error)));
    }
    showStatus();
  }

  /**
   * @param {number} index
   * @param {boolean} several
   */
  function pickReason(index, several) {
    const name = REASONS[index]?.[0];
    if (!name) return;
    const chosen = reasons.chosen ?? [];
    if (!several) decide("reject", [...new Set([...chosen, name])]);
    else reasons.set(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  }

  /** @param {TrainingFeedback} feedback */
  function showFeedback({ right, decision, note }) {
    const box = $(".feedback");
    const verdict = right ? say("Correct.") : say(decision === "accept" ? "The last triple should be accepted." : "The last triple should be rejected.");
    box.textContent = note ? `${verdict} ${note}` : verdict;
    box.classList.toggle("right", right);
    box.hidden = false;
  }

  // ---- dialogs
  /**
   * Open a dialog, then load its contents: the next key is no vote, however long that takes.
   * @param {string} name
   * @param {() => Promise<void>} [fill]
   */
  async function openDialog(name, fill) {
    const dialog = $(`dialog.${name}`, HTMLDialogElement);
    if (!dialog.open) dialog.showModal();
    const alarm = $(`dialog.${name} .alarm`);
    alarm.textContent = "";
    try {
      await fill?.();
    } catch (error) {
      alarm.textContent = say(messageOf(error));
    }
  }

  async function loadGuidelines() {
    /** @type {Guidelines} */
    const guidelines = await call("/api/guidelines");
    guideline = guidelines.id;
    // eslint-disable-next-line no-restricted-properties -- sanitised by annotator/crowd/guidelines.py
    $("dialog.guidelines .text").innerHTML = guidelines.html;
  }

  async function loadHistory(before = "") {
    if (!batch) return;
    await outbox.idle();
    await showHistory($, batch.name, before, () => guideline, ({ item }, key) => {
      const entry = past.find((voted) => voted.item.triple === item.triple);
      if (entry) entry.vote.key = key;
    });
  }

  /** @type {Record<string, (button?: HTMLElement) => unknown>} */
  const actions = {
    accept: () => decide("accept"),
    reject: () => (reasons.chosen === null ? reasons.set([]) : decide("reject", reasons.chosen)),
    skip: () => decide("skip"),
    undo,
    flag: () => { if (queue.length) openDialog("flag"); },
    history: () => { if (batch) openDialog("history", loadHistory); },
    guidelines: () => openDialog("guidelines", loadGuidelines),
    help: () => openDialog("help"),
    close: (button) => button?.closest("dialog")?.close(),
    older: (button) => openDialog("history", () => loadHistory(button?.dataset.before)),
    leave: () => call("/api/me/sign-out-everywhere", {}).then(() => location.assign(`${ROOT}/login`)),
  };

  // ---- status
  /** @param {string} text */
  function showMessage(text) {
    $(".message").textContent = text;
  }

  function showStatus() {
    const status = $(".status");
    if (!batch) return status.replaceChildren();
    const per = pace(durations);
    const rest = per === null ? "" : say("{s} s per triple, about {m} min left", {
      s: Math.max(1, Math.round(per / 1000)), m: Math.ceil(((batch.total - batch.mine) * per) / 60_000),
    });
    const saved = outbox.trouble || (outbox.slow ? say("Saving…") : say("✓ Saved"));
    status.replaceChildren(
      make("span", {}, `${say("Batch")} `, make("b", { textContent: batch.name })),
      make("progress", { max: batch.total, value: batch.mine, ariaLabel: say("triples you have judged") }),
      make("span", {}, make("b", { textContent: String(batch.mine) }), ` ${say("of {n}", { n: batch.total })}`),
      make("span", { textContent: rest }),
      make("span", { className: outbox.trouble ? "alarm saved" : "saved", textContent: saved }),
    );
  }

  // ---- wiring
  const flagForm = $("dialog.flag form", HTMLFormElement);
  onSubmit(flagForm, async ({ note }) => {
    try {
      await call("/api/flags", { triple: queue[0]?.triple, note });
      flagForm.reset();
      $("dialog.flag", HTMLDialogElement).close();
      showMessage(say("Flagged"));
    } catch (error) {
      $("dialog.flag .alarm").textContent = say(messageOf(error));
    }
  });

  /** @param {Command} command */
  function run(command) {
    if (command.do === "action") actions[command.name]?.();
    else if (command.do === "reason") pickReason(command.index, command.several);
    else if (command.do === "submit") decide("reject", reasons.chosen ?? []);
    else if (command.do === "cancel") reasons.set(null);
    else canvas.step(command.by);
  }

  const keys = addSettings(root, me);
  onAction(root, (action, button) => actions[action]?.(button));
  onCommand(root, (press) => commandOf(press, keys(), reasons.chosen), run);
  setInterval(showStatus, STATUS_MS);
  outbox.adopt();
  await load();
}
