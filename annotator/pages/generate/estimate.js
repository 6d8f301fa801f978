// @ts-check
/** A cost estimate as one sentence. No DOM. */

import { count } from "../shared/format.js";
import { say } from "../shared/language.js";

/** @import { CostEstimate } from "./payloads.d.ts" */

/** @param {number} amount */
export const dollars = (amount) => `$${amount.toFixed(4)}`;

/**
 * Calls, tokens and cost; parts that are zero are left out.
 * @param {CostEstimate} estimate
 */
export function estimateText(estimate) {
  const tokens = estimate.prompt_tokens;
  const parts = [
    say("{n} calls", { n: count(estimate.calls) }),
    estimate.exact_token_count
      ? say("{n} prompt tokens", { n: count(tokens) })
      : say("about {n} prompt tokens (estimated)", { n: count(Number(tokens.toPrecision(2))) }),
  ];
  if (estimate.image_tokens_included === false) parts.push(say("tokens of pictures not included"));
  if (estimate.max_cost_usd === null) parts.push(say("cost unknown: this model has no price"));
  else parts.push(say("at most {cost}", { cost: dollars(estimate.max_cost_usd) }));
  if (estimate.expected_cost_usd !== null) parts.push(say("probably {cost}", { cost: dollars(estimate.expected_cost_usd) }));
  if (estimate.answered_before) parts.push(say("{n} answered before", { n: count(estimate.answered_before) }));
  if (estimate.awaiting_collection) parts.push(say("{n} submitted", { n: count(estimate.awaiting_collection) }));
  for (const [reason, n] of Object.entries(estimate.skipped_images)) {
    parts.push(say("{n} pictures skipped: {reason}", { n: count(n), reason: say(reason) }));
  }
  if (estimate.images_in_other_language) {
    parts.push(say("{n} pictures with texts in another language", { n: count(estimate.images_in_other_language) }));
  }
  return parts.join(", ");
}
