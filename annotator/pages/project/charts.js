// @ts-check
/** Charts of the project page: every mark has a label for pointer, keyboard and screen reader. */

import { REASONS } from "../shared/decisions.js";
import { make, makeSvg } from "../shared/dom.js";
import { two } from "../shared/format.js";
import { say } from "../shared/language.js";
import { linePath, plotArea } from "../shared/scales.js";

/** @import { Point } from "../shared/scales.js" */
/** @import { DayRow, HourRow, ProjectOut } from "../shared/payloads.d.ts" */

const WIDTH = 560, HEIGHT = 180;
const MARGINS = { left: 40, right: 0, top: 18, bottom: 24 };
const HOUR_MS = 3_600_000, DAY_HOURS = 24;
const MAX_HOURS = 72;
const MAX_BAR = 40;

/**
 * @param {HTMLElement} host
 * @param {number} low the value at the bottom
 * @param {number} high the value at the top
 * @param {string} label
 */
function chart(host, low, high, label) {
  const area = plotArea(WIDTH, HEIGHT, MARGINS);
  const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": label });
  const output = make("output");
  /** @param {number} value */
  const y = (value) => area.y((value - low) / (high - low || 1));
  for (const v of [low, (low + high) / 2, high]) {
    svg.append(
      makeSvg("line", { class: "grid", x1: area.left, x2: WIDTH, y1: y(v), y2: y(v) }),
      makeSvg("text", { x: area.left - 6, y: y(v) + 4, "text-anchor": "end" }, String(Number(v.toFixed(2)))));
  }
  host.replaceChildren(svg, output);
  return {
    svg,
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
      svg.append(makeSvg("text", { x, y: HEIGHT - 6, "text-anchor": "middle" }, text));
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
  const { x, y, mark, below } = chart(host, 0, Math.max(...rows.map((row) => row.votes)), say("votes per hour"));
  const wide = x(1 / hours) - x(0);
  for (const { hour, votes } of rows) {
    const when = new Date(hour).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    mark(say("{when}: {n} votes", { when, n: votes }), makeSvg("rect", {
      class: "bar", x: x((hour - first.hour) / HOUR_MS / hours) + 1, y: y(votes),
      width: Math.max(1, Math.min(wide - 2, MAX_BAR)), height: y(0) - y(votes), rx: 2,
    }));
  }
  below(MARGINS.left + 40, day(first.hour));
  if (hours > DAY_HOURS) below(WIDTH - 40, day(last.hour));
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
 * How often each reason was given.
 * @param {HTMLElement} host
 * @param {ProjectOut["reasons"]} counts
 */
export function showReasons(host, counts) {
  const most = Math.max(1, ...Object.values(counts));
  const rows = REASONS.filter(([name]) => counts[name]);
  if (!rows.length) return showNoData(host);
  host.replaceChildren(...rows.map(([name, text]) => {
    const bar = make("i");
    bar.style.width = `${(100 * counts[name]) / most}%`;
    return make("div", { className: "hbar", title: `${say(text)}: ${counts[name]}` },
      make("span", { textContent: say(text) }), bar, make("b", { textContent: String(counts[name]) }));
  }));
}

/** @param {number} ms */
const day = (ms) => new Date(ms).toLocaleDateString();
