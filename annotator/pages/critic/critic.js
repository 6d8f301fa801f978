// @ts-check
/** The critic page. The whole curve is in the browser, so that the threshold can be dragged. */

import { caller } from "../shared/api.js";
import { finder, make, messageOf, onAction } from "../shared/dom.js";
import { count, range, short } from "../shared/format.js";
import { say } from "../shared/language.js";
import * as plots from "../shared/plots.js";
import { begin } from "../shared/session.js";
import { addCertificate } from "./certificate.js";
import { showNoCritic } from "./empty.js";
import { showTriples } from "./near.js";
import { addPlanning } from "./planning.js";
import { addReleases } from "./releases.js";
import { addTraining } from "./training.js";

/** @import { Server } from "../shared/api.js" */
/** @import { CurvePlot } from "../shared/plots.js" */
/** @import { CriticSummary, CurveData, Overview } from "./payloads.d.ts" */
/** @import { CriticPage, Results } from "./types.d.ts" */

const DEBOUNCE_MS = 250;
/** @type {Record<string, number>} */
const STEPS = { ArrowLeft: -0.01, ArrowRight: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };

/**
 * @param {HTMLElement} root
 * @param {Server} server
 */
export async function open(root, server) {
  const $ = finder(root);
  await begin(root);
  const ask = /** @type {typeof caller<Results>} */ (caller)(server);
  /** @type {Overview} */
  let overview;
  /** @type {CriticSummary} */
  let critic;
  /** @type {CurveData} */
  let curve;
  /** @type {CurvePlot} */
  let plot;
  let threshold = 0.5, calls = 0, timer = 0;

  /** @param {unknown} error */
  const showError = (error) => page.showMessage(messageOf(error));

  /** @type {CriticPage} */
  const page = {
    root,
    find: $,
    ask,
    load,
    move,
    showError,
    showMessage: (text) => { $(".message").textContent = text; },
    current: () => ({ critic, threshold }),
    async busy(button, text, work) {
      const before = button.textContent;
      button.disabled = true;
      button.textContent = text;
      try {
        await work();
      } catch (error) {
        showError(error);
        if (!$(".empty").hidden) $(".empty p").textContent = messageOf(error);
      }
      button.disabled = false;
      button.textContent = before;
    },
  };
  const planning = addPlanning(page);
  const certificate = addCertificate(page);
  const training = addTraining(page);
  const releases = addReleases(page);

  /** @param {string} [name] */
  async function load(name) {
    overview = await ask("overview");
    const newest = overview.critics[0];
    if (!newest) return showNoCritic(page, overview, training.train);
    $(".empty").hidden = true;
    $("main").hidden = false;
    await choose(name ?? critic?.name ?? newest.name);
  }

  /** @param {string} name */
  async function choose(name) {
    const before = critic?.name;
    critic = overview.critics.find((run) => run.name === name) ?? /** @type {CriticSummary} */ (overview.critics[0]);
    curve = await ask("curve", { run: critic.name });
    $(".runs").replaceChildren(...overview.critics.map((run) => make("option", { value: run.name, textContent: `${run.name} · ${run.kind}`, selected: run === critic })));
    const labelled = say("{n} labelled triples ({tested} on {images} test images)", { n: critic.labelled_triples, tested: critic.test_triples, images: critic.test_images });
    $(".status").replaceChildren(
      make("span", {}, `${say("Run")} `, make("b", { textContent: critic.name }), ` · ${labelled}`),
      ...(critic.simulated ? [make("span", { className: "alarm", textContent: say("trained on simulated votes") })] : []));
    const { value, low, high } = critic.average_precision;
    page.showMessage(say("Average precision {ap} [{low}, {high}] (base rate {acceptance})", { ap: short(value), low: short(low), high: short(high), acceptance: short(critic.acceptance_rate) }));
    plot = plots.curve(curve.curve);
    $(".plot").replaceChildren(plot.svg);
    $(".calibration").replaceChildren(plots.calibration(curve.calibration));
    planning.show(curve);
    if (critic.name !== before) certificate.clear();
    training.show(overview);
    releases.show(overview.releases);
    move(threshold);
  }

  // ---- the threshold
  /** @param {number} to */
  function move(to) {
    threshold = Math.max(0, Math.min(1, Math.round(to * 100) / 100));
    plot.move(threshold);
    $(".plot").ariaValueNow = String(threshold);
    $(".figures").replaceChildren(
      figure("", short(threshold), say("threshold")),
      measured("precision", say("precision")), measured("recall", say("recall")), measured("f1", "F1"),
      figure("", count(kept()), say("kept of {n}", { n: count(curve.scored_triples) })));
    list().catch(showError);
    // Slower updates wait until the threshold stays in place.
    clearTimeout(timer);
    timer = setTimeout(() => planning.follow().catch(showError), DEBOUNCE_MS);
  }

  /**
   * A metric at the threshold with its interval.
   * @param {"precision" | "recall" | "f1"} name
   * @param {string} label
   */
  function measured(name, label) {
    const i = curve.curve.threshold.findIndex((t) => t >= threshold);
    const { value, low, high } = curve.curve[name];
    return figure(name, short(value[i]), `${label} ${range({ value: value[i], low: low[i], high: high[i] })}`);
  }

  /**
   * @param {string} name
   * @param {string} value
   * @param {string} label
   */
  function figure(name, value, label) {
    return make("div", { className: name }, make("b", { textContent: value }), make("span", { textContent: label }));
  }

  const kept = () => curve.kept[Math.round(threshold * 100)] ?? 0;

  // One call at a time; requests made meanwhile are answered by one more call.
  async function list() {
    calls += 1;
    if (calls > 1) return;
    try {
      do {
        calls = 1;
        showTriples($(".around"), await ask("triples", { run: critic.name, threshold }));
      } while (calls > 1);
    } finally {
      calls = 0;
    }
  }

  // ---- wiring
  const box = $(".plot");
  /** @param {PointerEvent} event */
  const drag = (event) => {
    const { left, width } = box.getBoundingClientRect();
    move(plot.threshold((event.clientX - left) / width));
  };
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    drag(event);
  });
  box.addEventListener("pointermove", (event) => { if (event.buttons & 1) drag(event); });
  box.addEventListener("keydown", (event) => {
    const by = STEPS[event.key];
    if (!by) return;
    event.preventDefault();
    move(threshold + by);
  });
  const runs = $(".runs", HTMLSelectElement);
  runs.addEventListener("change", () => choose(runs.value).catch(showError));
  onAction(root, (action, button) => {
    if (action === "release") releases.open(say("{n} triples scored {t} or higher by {critic}.", { n: kept(), t: threshold.toFixed(2), critic: critic.name }));
    if (action === "release-certified") certificate.release(releases.open);
    if (action === "close") button.closest("dialog")?.close();
  });
  load().catch((error) => {
    $(".empty h1").textContent = say("This page could not be loaded");
    $(".empty p").textContent = messageOf(error);
  });
}
