// @ts-check
/**
 * The region canvas: an image, the outlines of its regions, and their numbers.
 *
 * Outlines and numbers are those of regions/marks.py: the same colours, casing and places of the
 * numbers. What the page adds is the highlighting.
 */

import { make, makeSvg } from "../pages/shared/dom.js";
import { say } from "../pages/shared/language.js";
import { paint } from "./chips.js";
import { area, drawnBox, neighbour, NO_ZOOM, placeBadges, scaled, toImage, zoomAt } from "./geometry.js";
import { addGestures } from "./gestures.js";

/** @import { Box, Point, Region, Zoom } from "./geometry.js" */
/**
 * @typedef {{width: number, height: number, title: string, author: string, licence: string}} ImageInfo
 * @typedef {{image: ImageInfo, regions: Region[], mentioned?: number[]}} Scene
 * @typedef {(number: number) => void} OnPick A click on a region.
 * @typedef {(box: Box, polygons: Point[][]) => void} OnDraw A drawn region, in pixels of the image.
 */

export class Canvas {
  /** @type {ImageInfo | null} */
  image = null;
  /** @type {Region[]} */
  regions = [];
  /** @type {Set<number>} Numbers of the regions that are drawn stronger. */
  mentioned = new Set();
  /** @type {Set<HTMLElement>} Numbers in texts, which are highlighted with their regions. */
  chips = new Set();
  /** @type {number | null} The highlighted region. */
  active = null;
  /** @type {Zoom} */
  zoom = NO_ZOOM;
  /** @type {Point[] | null} Corners of the outline that is being drawn. */
  corners = null;
  /** @type {{group: SVGGElement, region: Region}[]} */
  shapes = [];
  /** @type {{element: HTMLElement, region: Region}[]} */
  badges = [];
  svg = makeSvg("svg");
  line = makeSvg("path");

  /**
   * @param {HTMLElement} host
   * @param {{pick?: OnPick, draw?: OnDraw}} [callbacks]
   */
  constructor(host, { pick, draw } = {}) {
    this.pick = pick;
    this.draw = draw;
    this.stage = make("div", { className: "stage" });
    this.frame = make("div", { className: "frame" }, this.stage);
    this.caption = make("figcaption");
    host.replaceChildren(make("figure", { className: "canvas" }, this.frame, this.caption));
    this.frame.classList.toggle("drawable", Boolean(draw));
    new ResizeObserver(() => this.arrange()).observe(this.frame);
    addGestures(this);
  }

  /**
   * @param {Scene} scene
   * @param {HTMLImageElement} img
   */
  show({ image, regions, mentioned = [] }, img) {
    this.image = image;
    this.regions = regions;
    this.mentioned = new Set(mentioned);
    this.chips.clear();
    this.corners = null;
    this.frame.style.setProperty("--ratio", String(image.width / image.height));
    img.alt = image.title || say("picture");
    img.draggable = false;
    this.svg = makeSvg("svg", { viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true" });
    this.shapes = regions.map((region) => ({ group: outline(region), region }));
    // Large ones first, so that small ones lie above them.
    const bySize = [...this.shapes].sort((a, b) => area(b.region) - area(a.region));
    this.svg.append(...bySize.map(({ group }) => group));
    this.badges = regions.map((region) => ({ element: badge(region.number), region }));
    this.stage.replaceChildren(img, this.svg, ...this.badges.map(({ element }) => element));
    showIfUnreadable(img);
    this.caption.textContent = [image.title, image.author, image.licence].filter(Boolean).join(" · ");
    this.setZoom(NO_ZOOM);
    this.light(null);
    this.arrange();
  }

  /** Places the numbers; called again when the size of the frame changes. */
  arrange() {
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (!this.image || !width || !height) return;
    const scale = width / this.image.width;
    const sizes = this.badges.map(({ element }) => /** @type {Point} */ ([element.offsetWidth, element.offsetHeight]));
    const corners = placeBadges(this.badges.map(({ region }) => scaled(region, scale)), sizes, [width, height]);
    this.badges.forEach(({ element }, i) => {
      const [x, y] = corners[i] ?? [0, 0];
      element.style.left = `${(100 * x) / width}%`;
      element.style.top = `${(100 * y) / height}%`;
    });
  }

  /**
   * Highlight one region and fade the others; null: none.
   * @param {number | null} number
   */
  light(number) {
    this.active = number;
    /**
     * @param {Element} element
     * @param {Region} region
     */
    const mark = (element, region) => {
      element.classList.toggle("on", region.number === number);
      element.classList.toggle("strong", this.mentioned.has(region.number));
      element.classList.toggle("back", number !== null && region.number !== number);
    };
    for (const { group, region } of this.shapes) mark(group, region);
    for (const { element, region } of this.badges) mark(element, region);
    for (const element of this.chips) element.classList.toggle("on", Number(element.dataset.region) === number);
  }

  /**
   * Highlight the next (1) or the previous (-1) region.
   * @param {1 | -1} by
   */
  step(by) {
    const next = neighbour(this.regions.map((region) => region.number), this.active, by);
    if (next !== null) this.light(next);
  }

  /**
   * The pointer position in pixels of the image.
   * @param {PointerEvent} event
   * @returns {Point}
   */
  at(event) {
    if (!this.image) return [0, 0];
    return toImage([event.clientX, event.clientY], this.stage.getBoundingClientRect(), this.image);
  }

  /** @param {Zoom} zoom */
  setZoom(zoom) {
    this.zoom = zoom;
    const { k, x, y } = zoom;
    this.stage.style.transform = k === 1 ? "" : `translate(${x}px, ${y}px) scale(${k})`;
    this.stage.style.setProperty("--unzoom", String(1 / k));
  }

  /**
   * Zoom around the pointer.
   * @param {MouseEvent} event
   * @param {number} factor
   */
  zoomBy(event, factor) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    this.setZoom(zoomAt(this.zoom, [event.clientX - left, event.clientY - top], factor, [width, height]));
  }

  /** Starts an outline: each click adds a corner until `close`. */
  trace() {
    this.corners = [];
    this.line = makeSvg("path", { class: "shape drawn" });
    this.svg.append(this.line);
  }

  /** @param {Point} point */
  addCorner([x, y]) {
    if (!this.corners) return;
    this.corners.push([Math.round(x), Math.round(y)]);
    this.line.setAttribute("d", `M${this.corners.map((p) => p.join(" ")).join("L")}`);
  }

  /** Ends the outline; fewer than three corners or too small an area count as none. */
  close() {
    const ring = this.corners ?? [];
    this.corners = null;
    this.line.remove();
    const box = drawnBox(ring);
    if (box && ring.length >= 3) this.draw?.(box, [ring]);
  }
}

/** @param {number} number */
function badge(number) {
  const element = make("span", { className: "badge", textContent: String(number) });
  paint(element, number);
  return element;
}

/** @param {Region} region */
function outline({ number, box: [x1, y1, x2, y2], polygons }) {
  const rings = polygons.length ? polygons : [[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]];
  const d = rings.map((ring) => `M${ring.map((corner) => corner.map(Number).join(" ")).join("L")}Z`).join("");
  const group = makeSvg("g", {}, makeSvg("path", { class: "casing", d }), makeSvg("path", { class: "shape", d }));
  paint(group, number);
  return group;
}

/**
 * Replaces an image that cannot be loaded, now or later, by a text that says so.
 * @param {HTMLImageElement} img
 */
function showIfUnreadable(img) {
  const replace = () => {
    const text = say("This picture cannot be shown. Skip it, and tell a researcher.");
    img.replaceWith(make("p", { className: "unreadable", textContent: text }));
  };
  if (img.complete && !img.naturalWidth) replace();
  else img.addEventListener("error", replace, { once: true });
}
