// @ts-check
/** Keys, times, figures and scales of the pages. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { ActiveTime, pace } from "../../annotator/pages/annotate/clock.js";
import { estimateText } from "../../annotator/pages/generate/estimate.js";
import { count, range, seconds, share, short, two } from "../../annotator/pages/shared/format.js";
import { commandOf } from "../../annotator/pages/shared/keyboard.js";
import { bandPath, linePath, plotArea, stepPath } from "../../annotator/pages/shared/scales.js";

const KEYS = { accept: "a", reject: "r", help: "?" };

/**
 * The command of a key.
 * @param {string} key
 * @param {Partial<import("../../annotator/pages/shared/keyboard.js").KeyPress>} [press]
 * @param {string[] | null} [reasons]
 */
function command(key, press = {}, reasons = null) {
  const none = { code: "", shiftKey: false, repeat: false, ctrlKey: false, metaKey: false, altKey: false };
  return commandOf({ key, ...none, ...press }, KEYS, reasons);
}

test("a key does the action that it is set to, in either case", () => {
  assert.deepEqual(command("a"), { do: "action", name: "accept" });
  assert.deepEqual(command("R"), { do: "action", name: "reject" });
  assert.deepEqual(command("?", { shiftKey: true }), { do: "action", name: "help" });
  assert.equal(command("x"), null);
});

test("digits choose reasons only while a triple is being rejected", () => {
  const one = { code: "Digit1" };
  assert.equal(command("1", one), null);
  assert.deepEqual(command("1", one, []), { do: "reason", index: 0, several: false });
  assert.deepEqual(command("!", { ...one, shiftKey: true }, []), { do: "reason", index: 0, several: true });
  assert.deepEqual(command("6", { code: "Numpad6" }, []), { do: "reason", index: 5, several: false });
  assert.equal(command("7", { code: "Digit7" }, []), null);
});

test("Enter submits reasons if there are any; Escape cancels", () => {
  assert.equal(command("Enter"), null);
  assert.equal(command("Enter", {}, []), null);
  assert.deepEqual(command("Enter", {}, ["trivial"]), { do: "submit" });
  assert.deepEqual(command("Escape", {}, []), { do: "cancel" });
});

test("arrows step through regions", () => {
  assert.deepEqual(command("ArrowRight"), { do: "step", by: 1 });
  assert.deepEqual(command("ArrowLeft"), { do: "step", by: -1 });
});

test("keys of the browser and repeated ones mean nothing", () => {
  for (const name of ["repeat", "ctrlKey", "metaKey", "altKey"]) assert.equal(command("a", { [name]: true }), null);
});

test("a pause without input counts as a minute at most", () => {
  let now = 1000;
  const time = new ActiveTime(() => now);
  now += 5_000;
  time.record();
  now += 600_000;
  assert.equal(time.read(), 65_000);
  time.restart();
  now += 1_500;
  assert.equal(time.read(), 1_500);
});

test("the pace is the median of the last ten votes", () => {
  assert.equal(pace([]), null);
  assert.equal(pace([5, 1, 3]), 3);
  assert.equal(pace([...Array(20).fill(900), ...Array(10).fill(7)]), 7);
});

test("figures have two decimals, or a dash where there are none", () => {
  assert.deepEqual([two(0.5), two(null), short(0.5), short(1), short(-0.25), short(undefined)], ["0.50", "–", ".50", "1.00", "-0.25", "–"]);
  assert.equal(short(0.12345, 3), ".123");
  assert.equal(range({ value: 0.5, low: 0.25, high: 1 }), ".25–1.00");
  assert.equal(range({ value: 0.5, low: null, high: null }), "");
  assert.deepEqual([share(0.126), share(null), seconds(1250), seconds(null), count(12345)], ["13 %", "–", "1.3 s", "–", "12,345"]);
});

test("a chart places 0 and 1 at the edges of its area, and finds them again", () => {
  const area = plotArea(200, 100, { left: 40, right: 10, top: 5, bottom: 15 });
  assert.deepEqual([area.x(0), area.x(1), area.y(0), area.y(1)], [40, 190, 85, 5]);
  for (const t of [0, 0.25, 1]) assert.equal(area.shareAt(area.x(t)), t);
});

test("a step function changes at its points; a band goes out and back", () => {
  assert.equal(linePath([[0, 1], [2, 3]]), "M0 1L2 3");
  assert.equal(linePath([]), "");
  assert.equal(stepPath([[2, 5], [4, 7]], 0), "M0 5H2H2V7H4");
  assert.equal(bandPath([[0, 1], [2, 3]], [[0, 5], [2, 6]]), "M0 1L2 3L2 6L0 5Z");
  assert.equal(bandPath([], []), "");
});

test("a cost estimate names what is known, and leaves out what is zero", () => {
  const estimate = {
    calls: 1200, answered_before: 0, awaiting_collection: 0, skipped_images: {}, images_in_other_language: 0,
    prompt_tokens: 12345, exact_token_count: false, image_tokens_included: null,
    max_completion_tokens: 10, expected_completion_tokens: null, max_cost_usd: null, expected_cost_usd: null,
  };
  assert.equal(estimateText(estimate), "1,200 calls, about 12,000 prompt tokens (estimated), cost unknown: this model has no price");
  assert.equal(
    estimateText({ ...estimate, exact_token_count: true, max_cost_usd: 0.5, expected_cost_usd: 0.25, skipped_images: { "no texts": 3 } }),
    "1,200 calls, 12,345 prompt tokens, at most $0.5000, probably $0.2500, 3 pictures skipped: no texts");
});
