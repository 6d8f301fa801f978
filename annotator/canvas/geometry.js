// @ts-check
/**
 * Regions in pixels of an image: what a point selects, where numbers are placed, zooming. No DOM.
 *
 * `regionAt` and `placeBadges` follow the same rules as `region_at` of regions/geometry.py and
 * `place_badges` of regions/marks.py; both sides pass the cases of tests/regions/*.json.
 */

/** @typedef {[x: number, y: number]} Point */
/** @typedef {[x1: number, y1: number, x2: number, y2: number]} Box */
/** @typedef {{number: number, box: Box, polygons: Point[][]}} Region */
/** @typedef {{k: number, x: number, y: number}} Zoom A scale, and the offset of the top left corner. */

const MAX_ZOOM = 8;
const MIN_DRAWN_SIDE = 4;
/** @type {Zoom} */
export const NO_ZOOM = { k: 1, x: 0, y: 0 };

/**
 * Area of the polygons (shoelace formula) if there are any, else of the box.
 * @param {Region} region
 */
export function area({ box, polygons }) {
  if (!polygons.length) return (box[2] - box[0]) * (box[3] - box[1]);
  return polygons.reduce((sum, ring) => sum + ringArea(ring), 0);
}

/** @param {Point[]} ring */
function ringArea(ring) {
  return Math.abs(edges(ring).reduce((sum, [[ax, ay], [bx, by]]) => sum + ax * by - bx * ay, 0)) / 2;
}

/**
 * Whether the point is in a polygon if there are any, else in the box; edges and corners included,
 * so that a polygon that traces a box contains the same points as the box.
 * @param {Region} region
 * @param {number} x
 * @param {number} y
 */
export function contains({ box, polygons }, x, y) {
  if (!polygons.length) return box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3];
  return polygons.some((ring) => inRing(ring, x, y));
}

/**
 * @param {Point[]} ring
 * @param {number} x
 * @param {number} y
 */
function inRing(ring, x, y) {
  let inside = false;
  for (const [a, b] of edges(ring)) {
    if (onEdge(x, y, a, b)) return true;
    const [ax, ay] = a, [bx, by] = b;
    if (ay > y !== by > y && x < ax + ((y - ay) * (bx - ax)) / (by - ay)) inside = !inside;
  }
  return inside;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {Point} a
 * @param {Point} b
 */
function onEdge(x, y, [ax, ay], [bx, by]) {
  const isBetween =
    Math.min(ax, bx) <= x && x <= Math.max(ax, bx) && Math.min(ay, by) <= y && y <= Math.max(ay, by);
  return isBetween && (x - ax) * (by - ay) === (y - ay) * (bx - ax);
}

/**
 * @param {Point[]} ring
 * @returns {[Point, Point][]}
 */
function edges(ring) {
  return ring.map((corner, i) => [corner, /** @type {Point} */ (ring[(i + 1) % ring.length])]);
}

/**
 * The number of the region that a click selects: the smallest; among equals, the lowest number.
 * @param {Region[]} regions
 * @param {Point} point
 */
export function regionAt(regions, [x, y]) {
  const candidates = regions.filter((region) => contains(region, x, y));
  candidates.sort((a, b) => area(a) - area(b) || a.number - b.number);
  return candidates[0]?.number ?? null;
}

/**
 * The top left corner of each badge, given by width and height: on its region's outline.
 *
 * Badges lie within the image, and do not overlap if there is room. The badge of a small region is
 * placed beside it, so as not to cover it. Small regions are placed first.
 * @param {Region[]} regions
 * @param {Point[]} badges
 * @param {Point} size
 * @returns {Point[]}
 */
export function placeBadges(regions, badges, size) {
  /** @type {Point[]} */
  const corners = [];
  /** @type {Box[]} */
  const placed = [];
  const items = regions.map((region, i) => ({ region, badge: badges[i] ?? [0, 0], i }));
  for (const { region, badge, i } of items.sort((a, b) => area(a.region) - area(b.region))) {
    const preferred = badgeCorners(region, badge).map((corner) => clamp(corner, badge, size));
    const first = /** @type {Box} */ (preferred[0]);
    const candidates = [...preferred, ...nearbyBoxes(placed, first, badge, size)];
    const box = candidates.find((c) => !placed.some((other) => overlap(c, other))) ?? first;
    placed.push(box);
    corners[i] = [box[0], box[1]];
  }
  return corners;
}

/**
 * Places for a badge: beside a small region, else in its corners or on its outline.
 * @param {Region} region
 * @param {Point} badge
 * @returns {Point[]}
 */
function badgeCorners({ box: [x1, y1, x2, y2], polygons }, [w, h]) {
  if (x2 - x1 < 2 * w || y2 - y1 < 2 * h) return [[x1, y1 - h], [x2, y1], [x1 - w, y1], [x1, y2]];
  if (!polygons.length) return [[x1, y1], [x2 - w, y1], [x1, y2 - h], [x2 - w, y2 - h]];
  const points = polygons.flat();
  /** @param {(point: Point) => number[]} key */
  const least = (key) => points.reduce((best, point) => (isLess(key(point), key(best)) ? point : best));
  const ends = [
    least(([, y]) => [y]), least(([x, y]) => [x, y]), least(([x, y]) => [-x, -y]), least(([, y]) => [-y]),
  ];
  return ends.map(([x, y]) => [x - w / 2, y - h / 2]);
}

/**
 * Boxes next to the badges placed already, nearest to the preferred box first.
 * @param {Box[]} placed
 * @param {Box} preferred
 * @param {Point} badge
 * @param {Point} size
 */
function nearbyBoxes(placed, preferred, badge, size) {
  const [w, h] = badge;
  /** @param {Box} c */
  const distance = (c) => (c[0] - preferred[0]) ** 2 + (c[1] - preferred[1]) ** 2;
  return placed
    .flatMap(([x1, y1, x2, y2]) => {
      /** @type {Point[]} */
      const corners = [[x2, y1], [x1 - w, y1], [x1, y2], [x1, y1 - h]];
      return corners.map((corner) => clamp(corner, badge, size));
    })
    .sort((a, b) => distance(a) - distance(b));
}

/**
 * The box of a badge, moved into the image, in whole pixels.
 * @param {Point} corner
 * @param {Point} badge
 * @param {Point} size
 * @returns {Box}
 */
function clamp(corner, [w, h], [width, height]) {
  const x = Math.max(0, Math.min(round(corner[0]), width - w));
  const y = Math.max(0, Math.min(round(corner[1]), height - h));
  return [x, y, x + w, y + h];
}

/**
 * The nearest integer; halves go to the even one, as in Python.
 * @param {number} value
 */
function round(value) {
  const low = Math.floor(value), rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

/**
 * @param {Box} a
 * @param {Box} b
 */
function overlap(a, b) {
  return Math.min(a[2], b[2]) > Math.max(a[0], b[0]) && Math.min(a[3], b[3]) > Math.max(a[1], b[1]);
}

/**
 * @param {number[]} a
 * @param {number[]} b
 */
function isLess(a, b) {
  const i = a.findIndex((value, at) => value !== b[at]);
  return i >= 0 && Number(a[i]) < Number(b[i]);
}

/**
 * A region in an image that is resized by a factor.
 * @param {Region} region
 * @param {number} factor
 * @returns {Region}
 */
export function scaled({ number, box: [x1, y1, x2, y2], polygons }, factor) {
  return {
    number,
    box: [x1 * factor, y1 * factor, x2 * factor, y2 * factor],
    polygons: polygons.map((ring) => ring.map(([x, y]) => [x * factor, y * factor])),
  };
}

/**
 * The point of an image that is shown at a point of the window; outside it, the nearest one.
 * @param {Point} point
 * @param {{left: number, top: number, width: number}} shown
 * @param {{width: number, height: number}} image
 * @returns {Point}
 */
export function toImage([x, y], shown, image) {
  const scale = image.width / shown.width;
  return [
    Math.max(0, Math.min((x - shown.left) * scale, image.width)),
    Math.max(0, Math.min((y - shown.top) * scale, image.height)),
  ];
}

/**
 * Zoom by a factor around a point of the frame, which stays where it is unless an edge would leave
 * the frame's edge.
 * @param {Zoom} zoom
 * @param {Point} point
 * @param {number} factor
 * @param {Point} frame
 * @returns {Zoom}
 */
export function zoomAt({ k, x, y }, [px, py], factor, frame) {
  const next = Math.max(1, Math.min(MAX_ZOOM, k * factor));
  return within({ k: next, x: px - ((px - x) * next) / k, y: py - ((py - y) * next) / k }, frame);
}

/**
 * Move a zoomed image by an offset, at most to its edges.
 * @param {Zoom} zoom
 * @param {Point} offset
 * @param {Point} frame
 * @returns {Zoom}
 */
export function pan({ k, x, y }, [dx, dy], frame) {
  return within({ k, x: x + dx, y: y + dy }, frame);
}

/**
 * @param {Zoom} zoom
 * @param {Point} frame
 * @returns {Zoom}
 */
function within({ k, x, y }, [width, height]) {
  return {
    k,
    x: Math.min(0, Math.max(x, width - width * k)),
    y: Math.min(0, Math.max(y, height - height * k)),
  };
}

/**
 * The box around some points; null if it is too small to have been drawn on purpose.
 * @param {Point[]} points
 * @returns {Box | null}
 */
export function drawnBox(points) {
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  /** @type {Box} */
  const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  return box[2] - box[0] >= MIN_DRAWN_SIDE && box[3] - box[1] >= MIN_DRAWN_SIDE ? box : null;
}

/**
 * The number after (`by` 1) or before (-1) the active one, from the last one to the first.
 * @param {number[]} numbers
 * @param {number | null} active
 * @param {1 | -1} by
 */
export function neighbour(numbers, active, by) {
  const at = active === null ? -1 : numbers.indexOf(active);
  const next = at < 0 && by < 0 ? numbers.length - 1 : (at + by + numbers.length) % numbers.length;
  return numbers[next] ?? null;
}
