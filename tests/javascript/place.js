// @ts-check
/** Reads scenes from standard input; writes what a click selects in each, and where numbers are placed. */

import { readFileSync } from "node:fs";

import { placeBadges, regionAt } from "../../annotator/canvas/geometry.js";

/** @import { Point, Region } from "../../annotator/canvas/geometry.js" */

/** @type {{regions: Region[], points: Point[], badges: Point[], size: Point}[]} */
const scenes = JSON.parse(readFileSync(0, "utf-8"));
const results = scenes.map(({ regions, points, badges, size }) => ({
  numbers: points.map((point) => regionAt(regions, point)),
  corners: placeBadges(regions, badges, size),
}));
console.log(JSON.stringify(results));
