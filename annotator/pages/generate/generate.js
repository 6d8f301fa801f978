// @ts-check
/** The generate page: a picture's texts, the prompt that a task makes of them, runs and rejections. */

import { Canvas } from "../../canvas/canvas.js";
import { chip, write } from "../../canvas/chips.js";
import { caller } from "../shared/api.js";
import { finder, make, messageOf } from "../shared/dom.js";
import { say } from "../shared/language.js";
import { picture } from "../shared/picture.js";
import { begin } from "../shared/session.js";
import { fillTable, numberCell } from "../shared/tables.js";
import { dollars, estimateText } from "./estimate.js";

/** @import { Server } from "../shared/api.js" */
/** @import { CostEstimate, ImagePreview, ImageText, JobState, Overview, RejectionReason, RunOutput, RunSummary } from "./payloads.d.ts" */
/**
 * @typedef {{
 *   overview: Overview & {tasks: Record<string, string>, server: string, job: JobState},
 *   preview: ImagePreview,
 *   estimate: CostEstimate,
 *   try_out: RunOutput,
 *   start: JobState,
 *   pause: JobState,
 * }} Results The results of the server functions of page.py.
 */

const POLL_MS = 1500;
const MAX_TEXT = 600;
const LABELS = {
  no_json: "not JSON", cut_off: "truncated", fields: "missing or invalid fields", leak: "mentions its source",
  repeat: "near duplicate", interrupted: "stopped by a user", budget_spent: "budget spent",
};

/**
 * @param {HTMLElement} root
 * @param {Server} server
 */
export async function open(root, server) {
  const $ = finder(root);
  const canvas = new Canvas($(".picture"));
  await begin(root);
  const call = /** @type {typeof caller<Results>} */ (caller)(server);
  const task = $("[name=task]", HTMLSelectElement);
  /** @type {ImagePreview | null} */
  let preview = null;
  let timer = 0;

  /** @param {string} text */
  const showMessage = (text) => { $(".message").textContent = text; };
  /** @param {unknown} error */
  const showError = (error) => showMessage(messageOf(error));

  /**
   * The task, the model and the numbers of the form.
   * @param {...("samples" | "budget")} names
   */
  function form(...names) {
    const model = $("[name=model]", HTMLInputElement).value;
    if (!model.trim()) throw new Error(say("Enter the model's name, e.g. gpt-4o-mini"));
    const numbers = names.map((name) => [name, Number($(`[name=${name}]`, HTMLInputElement).value)]);
    return { task: task.value, model, ...Object.fromEntries(numbers) };
  }

  async function load() {
    const overview = await call("overview");
    $("main").hidden = !overview.images;
    $(".empty").hidden = Boolean(overview.images);
    if (!task.options.length) {
      task.append(...Object.entries(overview.tasks).map(([value, title]) => make("option", { value, textContent: say(title) })));
    }
    $(".status").replaceChildren(
      make("span", {}, `${say("Server")} `, make("b", { textContent: overview.server })),
      make("span", {}, `${say("spent so far")} `, make("b", { textContent: dollars(overview.spent_usd) })));
    showRuns(overview.runs);
    showRejected(overview.rejected);
    showJob(overview.job);
    if (overview.images && !preview) await showPreview(0);
  }

  /** @param {readonly RunSummary[]} runs */
  function showRuns(runs) {
    const table = $(".runs", HTMLTableElement);
    const section = table.closest("section");
    if (section) section.hidden = !runs.length;
    const head = ["run", "task", "model", "prompt", "status", "replies", "failed calls", "kept", "rejected", "cost"];
    fillTable(table, head, runs.map((run) => [
      run.name, say(run.task), run.model, run.prompt, label(run.stopped || run.status),
      ...[run.replies, run.failed_calls, run.kept, run.rejected].map((n) => numberCell(String(n))),
      numberCell(dollars(run.cost_usd)),
    ]));
  }

  /** @param {readonly RejectionReason[]} reasons */
  function showRejected(reasons) {
    const list = $(".rejected");
    const section = list.closest("section");
    if (section) section.hidden = !reasons.length;
    const opened = new Set([...list.querySelectorAll("details[open]")].map((details) => details.getAttribute("data-reason")));
    list.replaceChildren(...reasons.map(({ reason, count, examples }) => {
      const details = make("details", { open: opened.has(reason) },
        make("summary", {}, make("b", { textContent: String(count) }), ` ${label(reason)}`),
        ...examples.map(({ detail, text }) => make("p", {}, text.slice(0, MAX_TEXT), make("small", { textContent: detail }))));
      details.dataset.reason = reason;
      return details;
    }));
  }

  /** @param {JobState} job */
  function showJob(job) {
    $("[data-do=start]").hidden = job.running;
    const pause = $("[data-do=pause]", HTMLButtonElement);
    pause.hidden = !job.running;
    pause.disabled = job.pausing;
    const bar = $("progress", HTMLProgressElement);
    bar.hidden = !job.running;
    if (job.total) Object.assign(bar, { max: job.total, value: job.done });
    if (job.failure) showMessage(job.failure);
    else if (job.pausing) showMessage(say("Waiting for the calls in flight…"));
    else if (job.waiting_seconds) showMessage(say("Rate limited by the server, waiting {seconds} s", { seconds: job.waiting_seconds }));
    clearTimeout(timer);
    if (job.running) timer = setTimeout(() => load().catch(showError), POLL_MS);
  }

  /** @param {number} after the id of an image */
  async function showPreview(after) {
    const shown = await call("preview", { task: task.value, after });
    preview = shown;
    canvas.show(shown, picture(shown.image, $(".picture").clientWidth || innerWidth));
    $(".texts").replaceChildren(...(shown.texts.length ? shown.texts.map(textRow)
      : [make("li", { textContent: say("No texts yet: run lskd verbalize, or import captions.") })]));
    $(".messages").replaceChildren(...(shown.skip_reason
      ? [make("p", { textContent: say("This picture is skipped: {reason}.", { reason: say(shown.skip_reason) }) })]
      : shown.messages.flatMap(({ role, content }) => [make("h3", { textContent: role }), make("pre", { textContent: content })])));
    $(".output").hidden = true;
  }

  /** @param {ImageText} row */
  function textRow({ region, kind, text, answer, model }) {
    return make("li", {},
      region === null ? make("small", { textContent: say(kind) }) : make("span", {}, chip(region, canvas)),
      make("span", { textContent: answer ? `${text} — ${answer}` : text }),
      make("small", { textContent: model }));
  }

  /**
   * @param {RunOutput} output
   * @param {ImagePreview} of
   */
  function showOutput({ kept, rejected }, { regions }) {
    const numbers = new Set(regions.map((region) => region.number));
    /** @param {string} text */
    const paragraph = (text) => {
      const element = make("p", { className: "words" });
      write(element, text, numbers, canvas);
      return element;
    };
    $(".output").hidden = false;
    $(".output").replaceChildren(
      ...kept.map((texts) => make("article", {}, ...texts.map(paragraph))),
      ...rejected.map(({ reason, detail, text }) => make("p", { className: "rejection", textContent: `${label(reason)}: ${detail} — ${text.slice(0, MAX_TEXT / 2)}` })));
    showMessage(say("{kept} kept, {rejected} rejected", { kept: kept.length, rejected: rejected.length }));
  }

  /** @type {Record<string, () => Promise<void>>} */
  const actions = {
    next: () => showPreview(preview?.image.id ?? 0),
    try: async () => {
      if (!preview) return;
      showOutput(await call("try_out", { ...form("budget"), image: preview.image.id }), preview);
      await load();
    },
    estimate: async () => showMessage(estimateText(await call("estimate", form("samples", "budget")))),
    start: async () => {
      showMessage("");
      showJob(await call("start", form("samples", "budget")));
    },
    pause: async () => showJob(await call("pause")),
  };
  for (const button of root.querySelectorAll("[data-do]")) {
    if (!(button instanceof HTMLButtonElement)) continue;
    const action = button.dataset.do ?? "";
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await actions[action]?.();
      } catch (error) {
        showError(error);
      }
      // Whether Pause can be used again is the job's to say.
      if (action !== "pause") button.disabled = false;
    });
  }
  task.addEventListener("change", () => showPreview((preview?.image.id ?? 1) - 1).catch(showError));
  load().catch(showError);
}

/**
 * The label of a reason or a state.
 * @param {string} name
 */
function label(name) {
  return say(/** @type {Record<string, string>} */ (LABELS)[name] ?? name);
}
