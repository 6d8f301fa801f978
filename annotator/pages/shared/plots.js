// @ts-check
/** Charts of the critic page and the demo page, as SVG. */

import { makeSvg } from "./dom.js";
import { say } from "./language.js";
import { bandPath, FIFTHS, linePath, plotArea, QUARTERS, stepPath } from "./scales.js";

/** @import { PlotArea, Point } from "./scales.js" */
/** @import { CalibrationBin, CurveTable, TrainedCritic } from "../critic/payloads.d.ts" */
/** @import { LearningCurve } from "../demo/payloads.d.ts" */
/** @typedef {ReturnType<typeof curve>} CurvePlot */

const FIGURES = /** @type {const} */ (["precision", "recall", "f1"]);
const RUN_STYLES = 6;
const FIFTH_TICKS = FIFTHS.map((t) => /** @type {[number, string]} */ ([t, String(t)]));

/**
 * Horizontal grid lines at quarters with labels, and labels at `ticks` of the x axis.
 * @param {PlotArea} area
 * @param {[share: number, label: string][]} ticks
 * @param {(share: number) => string} label
 */
function grid(area, ticks, label = String) {
  return makeSvg("svg", { viewBox: `0 0 ${area.width} ${area.height}` },
    ...QUARTERS.flatMap((v) => [
      makeSvg("line", { class: "grid", x1: area.left, x2: area.width - area.right, y1: area.y(v), y2: area.y(v) }),
      makeSvg("text", { x: area.left - 8, y: area.y(v) + 4, "text-anchor": "end" }, label(v)),
    ]),
    ...ticks.map(([t, text]) => makeSvg("text", { x: area.x(t), y: area.height - 8, "text-anchor": "middle" }, text)));
}

/**
 * A dot with a text for the pointer.
 * @param {Point} place
 * @param {number} r
 * @param {string} title
 */
function dot([cx, cy], r, title) {
  return makeSvg("circle", { class: "dot", cx, cy, r }, makeSvg("title", {}, title));
}

/**
 * Precision, recall and F1 by threshold with their intervals, and the line that marks the threshold.
 * @param {CurveTable} table
 */
export function curve(table) {
  const area = plotArea(660, 300), svg = grid(area, FIFTH_TICKS);
  for (const name of FIGURES) {
    const { value, low, high } = table[name];
    // Between two scores the kept triples do not change: the curve is a step function.
    const steps = stepPath(placed(area, table.threshold, value), area.x(0));
    svg.append(makeSvg("g", { class: name },
      makeSvg("path", { class: "band", d: bandPath(placed(area, table.threshold, high), placed(area, table.threshold, low)) }),
      makeSvg("path", { class: "line", d: steps })));
  }
  const cut = makeSvg("g", {},
    makeSvg("line", { class: "cut", x1: 0, x2: 0, y1: area.top - 6, y2: area.height - area.bottom }),
    makeSvg("circle", { class: "knob", cx: 0, cy: area.top - 10, r: 7 }));
  svg.append(cut);
  return {
    svg,
    /** @param {number} threshold */
    move: (threshold) => cut.setAttribute("transform", `translate(${area.x(threshold)} 0)`),
    /**
     * The threshold at a share of the chart's width.
     * @param {number} share
     */
    threshold: (share) => area.shareAt(share * area.width),
  };
}

/**
 * The points of a curve that has no value at some places.
 * @param {PlotArea} area
 * @param {number[]} xs
 * @param {(number | null)[]} ys
 */
function placed(area, xs, ys) {
  /** @type {Point[]} */
  const points = [];
  xs.forEach((x, i) => {
    const y = ys[i] ?? null;
    if (y !== null) points.push([area.x(x), area.y(y)]);
  });
  return points;
}

/**
 * Mean score against acceptance rate; the size of a dot is its number of triples.
 * @param {CalibrationBin[]} bins
 */
export function calibration(bins) {
  const area = plotArea(420, 280), svg = grid(area, FIFTH_TICKS);
  const most = Math.max(...bins.map((bin) => bin.triples));
  svg.append(makeSvg("line", { class: "ideal", x1: area.x(0), y1: area.y(0), x2: area.x(1), y2: area.y(1) }));
  for (const { mean_score: score, acceptance_rate: rate, triples } of bins) {
    const title = say("mean score {score}: {share} of {n} triples accepted", { score: score.toFixed(2), share: rate.toFixed(2), n: triples });
    svg.append(dot([area.x(score), area.y(rate)], 3 + 3 * (triples / most), title));
  }
  return svg;
}

/**
 * Average precision of each run with its interval, in order of time.
 * @param {TrainedCritic[]} runs
 */
export function history(runs) {
  const area = plotArea(420, 200), last = runs.length - 1;
  const every = Math.ceil(runs.length / 6);
  const places = runs.map((_, i) => (last > 0 ? i / last : 0.5));
  const ticks = runs.map((run, i) => /** @type {[number, string]} */ ([places[i], String(run.labelled_triples ?? "")]));
  const svg = grid(area, ticks.filter((_, i) => i % every === 0));
  const points = runs.map((run, i) => /** @type {Point} */ ([area.x(places[i] ?? 0), area.y(run.average_precision.value ?? 0)]));
  svg.append(makeSvg("path", { class: "line precision", d: linePath(points) }));
  runs.forEach(({ name, average_precision: { value, low, high } }, i) => {
    const point = points[i];
    if (!point) return;
    if (low !== null && high !== null) {
      svg.append(makeSvg("line", { class: "whisker", x1: point[0], x2: point[0], y1: area.y(low), y2: area.y(high) }));
    }
    svg.append(dot(point, 4, `${name}: ${(value ?? 0).toFixed(3)}`));
  });
  return svg;
}

/**
 * Training losses of several students by step as lines; held-out losses as dots.
 * @param {LearningCurve[]} runs
 */
export function losses(runs) {
  const area = plotArea(660, 300);
  const known = runs.map((run) => ({ ...run, loss: run.loss.flatMap(([step, loss]) => (loss === null ? [] : [/** @type {Point} */ ([step, loss])])) }));
  const all = known.flatMap((run) => [...run.loss, ...run.held_out_loss]);
  const last = Math.max(1, ...all.map(([step]) => step)), most = Math.max(0.001, ...all.map(([, loss]) => loss));
  const ticks = QUARTERS.map((t) => /** @type {[number, string]} */ ([t, String(Math.round(t * last))]));
  const svg = grid(area, ticks, (v) => (v * most).toPrecision(2));
  known.forEach((run, n) => {
    /**
     * @param {Point} point
     * @returns {Point}
     */
    const place = ([step, loss]) => [area.x(step / last), area.y(loss / most)];
    svg.append(makeSvg("g", { class: `run run${n % RUN_STYLES}` },
      makeSvg("path", { class: "line", d: linePath(run.loss.map(place)) }),
      ...run.held_out_loss.map((point) => dot(place(point), 4, `${run.name}, ${point[0]}: ${point[1].toFixed(3)}`))));
  });
  return svg;
}
