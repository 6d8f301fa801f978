// @ts-check
/** Charts of the project page: every mark has a label for pointer, keyboard and screen reader. */

import { REASONS } from "../shared/decisions.js";
import { make, makeSvg } from "../shared/dom.js";
import { share, two } from "../shared/format.js";
import { say } from "../shared/language.js";
import { linePath, plotArea } from "../shared/scales.js";

/** @import { Point } from "../shared/scales.js" */
/** @import { DayRow, Drift, HourRow, ProjectOut } from "../shared/payloads.d.ts" */

const MIN_WIDTH = 280, MAX_WIDTH = 560, HEIGHT = 180;
const MARGINS = { left: 40, right: 0, top: 18, bottom: 24 };
const HOUR_MS = 3_600_000, DAY_HOURS = 24;
const MAX_HOURS = 72;
const MAX_BAR = 40, DATE_WIDTH = 72;
const REASON_HEIGHT = 28, REASON_LABEL = 250, NARROW = 460;

/**
 * The width of a chart: that of its place, so that its texts keep their size on a phone.
 * @param {HTMLElement} host
 */
const widthOf = (host) => Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, host.clientWidth || MAX_WIDTH));

/**
 * @param {HTMLElement} host
 * @param {number} low the value at the bottom
 * @param {number} high the value at the top
 * @param {string} label
 */
function chart(host, low, high, label) {
  const width = widthOf(host), area = plotArea(width, HEIGHT, MARGINS);
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "group", "aria-label": label });
  const output = make("output");
  /** @param {number} value */
  const y = (value) => area.y((value - low) / (high - low || 1));
  for (const v of [low, (low + high) / 2, high]) {
    svg.append(
      makeSvg("line", { class: "grid", x1: area.left, x2: width, y1: y(v), y2: y(v) }),
      makeSvg("text", { x: area.left - 6, y: y(v) + 4, "text-anchor": "end" }, String(Number(v.toFixed(2)))));
  }
  host.replaceChildren(svg, output);
  return {
    svg,
    width,
    x: area.x,
    y,
    /**
     * @param {string} text
     * @param {SVGElement} shape
     */
    mark(text, shape) {
      const group = makeSvg("g", { class: "mark", tabindex: "0", role: "img", "aria-label": text }, shape);
      for (const kind of ["pointerenter", "focus"]) group.addEventListener(kind, () => { output.textContent = text; });
      svg.append(group);
    },
    /**
     * @param {number} x
     * @param {string} text
     */
    below(x, text) {
      const inside = Math.min(Math.max(x, DATE_WIDTH / 2), width - DATE_WIDTH / 2);
      svg.append(makeSvg("text", { x: inside, y: HEIGHT - 6, "text-anchor": "middle" }, text));
    },
  };
}

/** @param {HTMLElement} host */
function showNoData(host) {
  host.replaceChildren(make("p", { className: "quiet", textContent: say("No data yet.") }));
}

/**
 * Votes per hour as bars; the newest three days at most.
 * @param {HTMLElement} host
 * @param {HourRow[]} all
 */
export function showHours(host, all) {
  const rows = all.slice(-MAX_HOURS);
  const first = rows[0], last = rows.at(-1);
  if (!first || !last) return showNoData(host);
  const hours = Math.round((last.hour - first.hour) / HOUR_MS) + 1;
  const { width, x, y, mark, below } = chart(host, 0, Math.max(...rows.map((row) => row.votes)), say("votes per hour"));
  const wide = x(1 / hours) - x(0);
  for (const { hour, votes } of rows) {
    const when = new Date(hour).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    mark(say("{when}: {n} votes", { when, n: votes }), makeSvg("rect", {
      class: "bar", x: x((hour - first.hour) / HOUR_MS / hours) + 1, y: y(votes),
      width: Math.max(1, Math.min(wide - 2, MAX_BAR)), height: y(0) - y(votes), rx: 2,
    }));
  }
  below(MARGINS.left + 40, day(first.hour));
  if (hours > DAY_HOURS) below(width - 40, day(last.hour));
}

/**
 * Agreement by day as a line.
 * @param {HTMLElement} host
 * @param {DayRow[]} rows
 */
export function showDays(host, rows) {
  const first = rows[0], last = rows.at(-1);
  if (!first || !last) return showNoData(host);
  const { svg, x, y, mark, below } = chart(host, Math.min(0, ...rows.map((row) => row.alpha)), 1, say("agreement by day"));
  const points = rows.map((row, i) => /** @type {Point} */ ([x((i + 0.5) / rows.length), y(row.alpha)]));
  svg.append(makeSvg("path", { class: "line", d: linePath(points) }));
  points.forEach(([cx, cy], i) => {
    const row = rows[i];
    if (row) mark(`${day(row.day)}: ${two(row.alpha)}`, makeSvg("circle", { class: "dot", cx, cy, r: 6 }));
  });
  below(points[0]?.[0] ?? 0, day(first.day));
  if (rows.length > 2) below(points.at(-1)?.[0] ?? 0, day(last.day));
}

/**
 * How often each reason was given, as horizontal bars.
 * @param {HTMLElement} host
 * @param {ProjectOut["reasons"]} counts
 */
export function showReasons(host, counts) {
  const most = Math.max(1, ...Object.values(counts));
  const rows = REASONS.filter(([name]) => counts[name]);
  if (!rows.length) return showNoData(host);
  const width = widthOf(host), isNarrow = width < NARROW;
  const rowHeight = isNarrow ? REASON_HEIGHT * 1.5 : REASON_HEIGHT, left = isNarrow ? 0 : REASON_LABEL, right = width - 44;
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${rows.length * rowHeight}`, role: "group", "aria-label": say("rejection reasons") });
  rows.forEach(([name, text], i) => {
    const middle = (i + (isNarrow ? 0.75 : 0.5)) * rowHeight, n = counts[name];
    svg.append(makeSvg("g", { class: "mark", tabindex: "0", role: "img", "aria-label": `${say(text)}: ${n}` },
      makeSvg("text", { x: 0, y: isNarrow ? middle - 12 : middle + 4 }, say(text)),
      makeSvg("rect", { class: "reason", x: left, y: middle - 6, width: ((right - left) * n) / most, height: 12, rx: 3 }),
      makeSvg("text", { x: width, y: middle + 4, "text-anchor": "end" }, String(n))));
  });
  host.replaceChildren(svg);
}

/**
 * Accuracy and agreement of a person, or of everybody, as lines with their intervals.
 * @param {HTMLElement} host
 * @param {Drift | undefined} drift
 */
export function showDrift(host, drift) {
  const points = drift?.points ?? [];
  if (!points.some(({ accuracy, agreement }) => accuracy.judged || agreement.judged)) return showNoData(host);
  const { svg, x, y, mark, below } = chart(host, 0, 1, say("accuracy and agreement over time"));
  /** @type {["accuracy" | "agreement", string, string][]} */
  const lines = [["agreement", "", "Agrees with the others"], ["accuracy", " second", "Right on known answers"]];
  for (const [name, style, label] of lines) {
    const known = points.flatMap((point, i) => {
      const rate = point[name];
      return rate.value === null ? [] : [{ point, rate, value: rate.value, at: x((i + 0.5) / points.length) + (style ? 4 : -4) }];
    });
    svg.append(makeSvg("path", { class: `line${style}`, d: linePath(known.map(({ at, value }) => [at, y(value)])) }));
    for (const { point, rate, value, at } of known) {
      svg.append(makeSvg("line", { class: `whisker${style}`, x1: at, x2: at, y1: y(rate.low), y2: y(rate.high) }));
      mark(`${say(label)}: ${share(value)} (${share(rate.low)} – ${share(rate.high)}, ${rate.correct}/${rate.judged}) · ${day(point.start)}`,
        makeSvg("circle", { class: `dot${style}`, cx: at, cy: y(value), r: 5 }));
    }
  }
  const first = points[0], last = points.at(-1);
  if (first) below(x(0.5 / points.length), day(first.start));
  if (last && points.length > 2) below(x(1 - 0.5 / points.length), day(last.start));
}

/** @param {number} ms */
const day = (ms) => new Date(ms).toLocaleDateString();
