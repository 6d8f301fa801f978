// @ts-check
/** The canvas follows the rules of regions/*.py: both sides run the cases of tests/regions/*.json. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { drawnBox, neighbour, pan, placeBadges, regionAt, toImage, zoomAt } from "../../annotator/canvas/geometry.js";
import { parse } from "../../annotator/canvas/references.js";

/** @param {string} name */
const cases = (name) => JSON.parse(readFileSync(new URL(`../regions/${name}.json`, import.meta.url), "utf-8"));

for (const { name, regions, points } of cases("click_cases")) {
  test(`a click: ${name}`, () => {
    for (const [x, y, number] of points) assert.equal(regionAt(regions, [x, y]), number, `${x}, ${y}`);
  });
}

for (const { name, regions, badges, size, corners } of cases("badge_cases")) {
  test(`a number is placed: ${name}`, () => {
    assert.deepEqual(placeBadges(regions, badges, size), corners);
  });
}

for (const [text, parts] of cases("reference_cases")) {
  test(`references in ${JSON.stringify(text)}`, () => assert.deepEqual(parse(text), parts));
}

test("a pointer position becomes pixels of the image, at most to its edges", () => {
  const shown = { left: 100, top: 50, width: 200 }, image = { width: 400, height: 300 };
  assert.deepEqual(toImage([150, 75], shown, image), [100, 50]);
  assert.deepEqual(toImage([0, 0], shown, image), [0, 0]);
  assert.deepEqual(toImage([999, 999], shown, image), [400, 300]);
});

test("zooming keeps the point under the pointer in place", () => {
  const zoom = zoomAt({ k: 1, x: 0, y: 0 }, [50, 20], 2, [100, 80]);
  assert.deepEqual(zoom, { k: 2, x: -50, y: -20 });
  assert.deepEqual(zoomAt(zoom, [50, 20], 0.5, [100, 80]), { k: 1, x: 0, y: 0 });
});

test("the zoom is limited, and the image fills its frame", () => {
  assert.equal(zoomAt({ k: 4, x: 0, y: 0 }, [0, 0], 100, [100, 80]).k, 8);
  assert.equal(zoomAt({ k: 2, x: -10, y: -10 }, [0, 0], 0.01, [100, 80]).k, 1);
  assert.deepEqual(pan({ k: 2, x: -50, y: -40 }, [500, -500], [100, 80]), { k: 2, x: 0, y: -80 });
});

test("a drawn box has four pixels a side, whichever corner came first", () => {
  assert.deepEqual(drawnBox([[30, 8], [10, 20]]), [10, 8, 30, 20]);
  assert.deepEqual(drawnBox([[0, 0], [4, 4]]), [0, 0, 4, 4]);
  assert.equal(drawnBox([[0, 0], [3, 40]]), null);
  assert.equal(drawnBox([]), null);
});

test("arrow keys go round the regions, from either end when none is active", () => {
  assert.deepEqual([null, 3, 5, 9].map((active) => neighbour([3, 5, 9], active, 1)), [3, 5, 9, 3]);
  assert.deepEqual([null, 3, 5, 9].map((active) => neighbour([3, 5, 9], active, -1)), [9, 9, 3, 5]);
  assert.equal(neighbour([], null, 1), null);
  assert.equal(neighbour([], null, -1), null);
});
