// @ts-check
/** Panels that follow the threshold: groups of kept triples, and which labels to collect next. */

import { make } from "../shared/dom.js";
import { range, share, short } from "../shared/format.js";
import { say } from "../shared/language.js";
import { fillTable } from "../shared/tables.js";

/** @import { CurveData, LabelingForecast, LabelingOption } from "./payloads.d.ts" */
/** @import { CriticPage } from "./types.d.ts" */
/** @typedef {"estimate" | "guarantee"} Purpose */

/** @type {Record<Purpose, string>} */
const PURPOSES = { estimate: "To estimate precision (test images)", guarantee: "To certify a threshold (calibration images)" };

/** @param {CriticPage} page */
export function addPlanning(page) {
  const { ask, find, showError } = page;
  const dimensions = find(".dimension", HTMLSelectElement);
  const sizes = find(".size", HTMLInputElement);

  async function showSlices() {
    const { critic, threshold } = page.current();
    const lines = await ask("slices", { run: critic.name, threshold, dimension: dimensions.value });
    const head = ["Group", "Labelled", "Acceptance rate", "Precision", "Recall", "Share of all", "Share of kept"];
    fillTable(find(".slices", HTMLTableElement), head, lines.map((line) => [
      line.value, line.labelled_triples, short(line.acceptance_rate),
      `${short(line.precision.value)} ${range(line.precision)}`, short(line.recall),
      share(line.share_of_all), share(line.share_of_kept),
    ]));
  }

  async function showForecasts() {
    const { critic, threshold } = page.current();
    const size = Number(sizes.value) || 1;
    const options = await ask("labeling_options", { run: critic.name, threshold, size });
    const box = find(".next");
    box.dataset.threshold = String(threshold);
    box.replaceChildren(
      purposeRow("estimate", options.estimate, size), purposeRow("guarantee", options.guarantee, size));
  }

  /**
   * @param {Purpose} purpose
   * @param {LabelingOption} option
   * @param {number} size
   */
  function purposeRow(purpose, { forecast, width_after: after }, size) {
    const { available } = forecast;
    const n = Math.min(size, available);
    const send = make("button", { type: "button", disabled: !available, textContent: say("Send {n} to annotators", { n }) });
    send.addEventListener("click", () => page.busy(send, say("Sending…"), async () => {
      const { critic, threshold } = page.current();
      const sent = await ask("create_batch", { run: critic.name, threshold, purpose, size });
      await showForecasts();
      page.showMessage(say("Sent {n} triples to annotators in the batch {batch}.", { n: sent.triples, batch: sent.batch }));
    }));
    const text = `${precision(forecast, n, after)} · ${say("{n} unlabelled triples available", { n: available })}`;
    return make("div", { className: "purpose" },
      make("b", { textContent: say(PURPOSES[purpose]) }), make("p", { className: "quiet", textContent: text }), send);
  }

  dimensions.addEventListener("change", () => showSlices().catch(showError));
  sizes.addEventListener("change", () => showForecasts().catch(showError));

  return {
    /** Shows the panels for the current threshold. */
    async follow() {
      await showSlices();
      await showForecasts();
    },
    /** @param {CurveData} curve */
    show(curve) {
      const chosen = dimensions.value;
      dimensions.replaceChildren(...curve.dimensions.map(({ value, title }) =>
        make("option", { value, textContent: say(title), selected: value === chosen })));
    },
  };
}

/**
 * How precise precision is known, and would be with `more` labels.
 * @param {LabelingForecast} forecast
 * @param {number} more
 * @param {number | null} after
 */
function precision({ labelled_triples: n, interval_width: width }, more, after) {
  if (width === null) return say("{n} labelled: too few for an interval", { n });
  const values = { n, width: short(width / 2), more, after: short(after === null ? null : after / 2) };
  if (!more) return say("{n} labelled: precision ± {width}", values);
  return say("{n} labelled: precision ± {width}, about ± {after} with {more} more", values);
}
