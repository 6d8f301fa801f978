// @ts-check
/** What the pointer does on a canvas: highlight, select, zoom, pan, draw a box or an outline. */

import { makeSvg } from "../pages/shared/dom.js";
import { drawnBox, NO_ZOOM, pan, regionAt } from "./geometry.js";

/** @import { Canvas } from "./canvas.js" */
/** @import { Point, Zoom } from "./geometry.js" */

const DRAG_PIXELS = 6;
const WHEEL_PIXELS = 400;

/** @param {Canvas} canvas */
export function addGestures(canvas) {
  const { frame } = canvas;
  /** @type {{at: Point, client: Point, zoom: Zoom} | null} */
  let start = null;
  let isDragged = false;
  const ghost = makeSvg("rect", { class: "shape drawn" });

  const cancel = () => {
    start = null;
    ghost.remove();
  };

  frame.addEventListener("wheel", (event) => {
    // Without a modifier key, scrolling down scrolls the page until the image is zoomed.
    if (!canvas.image || (!event.ctrlKey && canvas.zoom.k === 1 && event.deltaY > 0)) return;
    event.preventDefault();
    canvas.zoomBy(event, Math.exp(-event.deltaY / WHEEL_PIXELS));
  }, { passive: false });

  frame.addEventListener("dblclick", () => {
    if (canvas.corners) canvas.close();
    else canvas.setZoom(NO_ZOOM);
  });

  frame.addEventListener("pointerdown", (event) => {
    if (!canvas.image || event.button) return;
    start = { at: canvas.at(event), client: [event.clientX, event.clientY], zoom: canvas.zoom };
    isDragged = false;
  });

  frame.addEventListener("pointermove", (event) => {
    if (!canvas.image) return;
    if (!start) {
      if (event.pointerType === "mouse") canvas.light(regionAt(canvas.regions, canvas.at(event)));
      return;
    }
    /** @type {Point} */
    const offset = [event.clientX - start.client[0], event.clientY - start.client[1]];
    if (!isDragged && Math.hypot(...offset) < DRAG_PIXELS) return;
    isDragged = true;
    if (canvas.draw && !canvas.corners) {
      frame.setPointerCapture(event.pointerId);
      stretch(ghost, start.at, canvas.at(event));
      canvas.svg.append(ghost);
    } else if (canvas.zoom.k > 1) {
      canvas.setZoom(pan(start.zoom, offset, [frame.clientWidth, frame.clientHeight]));
    }
  });

  frame.addEventListener("pointerup", (event) => {
    if (!start) return;
    const from = start.at, to = canvas.at(event);
    cancel();
    if (canvas.corners) {
      if (!isDragged) canvas.addCorner(to);
    } else if (!isDragged) {
      const number = regionAt(canvas.regions, to);
      if (number !== null) canvas.pick?.(number);
      canvas.light(number);
    } else if (canvas.draw) {
      const box = drawnBox([from, to].map(([x, y]) => [Math.round(x), Math.round(y)]));
      if (box) canvas.draw(box, []);
    }
  });

  frame.addEventListener("pointercancel", cancel);
  frame.addEventListener("pointerleave", () => {
    if (canvas.image && !start) canvas.light(null);
  });
}

/**
 * Draw a rectangle between two points.
 * @param {SVGRectElement} rect
 * @param {Point} from
 * @param {Point} to
 */
function stretch(rect, [u, v], [x, y]) {
  const sides = { x: Math.min(x, u), y: Math.min(y, v), width: Math.abs(x - u), height: Math.abs(y - v) };
  for (const [name, value] of Object.entries(sides)) rect.setAttribute(name, String(value));
}
