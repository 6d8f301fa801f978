// @ts-check
/** Releases of the triples that a threshold keeps: the dialog, the list, and a comparison of two. */

import { make, messageOf, onAction, onSubmit } from "../shared/dom.js";
import { count, range, short } from "../shared/format.js";
import { say } from "../shared/language.js";
import { fillTable } from "../shared/tables.js";
import { ROOT } from "../shared/urls.js";

/** @import { Certificate } from "./certificate.js" */
/** @import { ReleaseSummary } from "./payloads.d.ts" */
/** @import { CriticPage } from "./types.d.ts" */

/** @param {CriticPage} page */
export function addReleases(page) {
  const { ask, find, root, showError } = page;
  const dialog = find("dialog.release", HTMLDialogElement);
  const form = find("dialog.release form", HTMLFormElement);
  /** @type {Certificate | null} */
  let certified = null;

  /**
   * Ask for the name of a release.
   * @param {string} what
   * @param {Certificate} [certificate] without one, the threshold on the curve
   */
  function open(what, certificate) {
    certified = certificate ?? null;
    find("dialog.release .what").textContent = what;
    find("dialog.release .note").hidden = !page.current().critic.simulated;
    find("dialog.release .limits").hidden = Boolean(certified);
    find("dialog.release .alarm").textContent = "";
    dialog.showModal();
  }

  /** @param {Record<string, string>} fields */
  async function create(fields) {
    const { critic, threshold } = page.current();
    const name = fields.name?.trim(), note = fields.note?.trim();
    const limits = Object.fromEntries(["top", "per_image", "per_kind"].map((limit) => [limit, certified ? 0 : Number(fields[limit]) || 0]));
    const how = certified ? { precision: certified.target, confidence: certified.confidence } : { threshold };
    try {
      await ask("release", { run: critic.name, name, note, limits, simulated: critic.simulated, ...how });
      dialog.close();
      form.reset();
      await page.load();
      const link = make("a", { href: `${ROOT}/demo/`, textContent: say("Train a student on this release") });
      find(".message").replaceChildren(`${say("Released as {name}.", { name })} `, link);
    } catch (error) {
      find("dialog.release .alarm").textContent = messageOf(error);
    }
  }

  /** @param {string} name */
  async function showCard(name) {
    find("dialog.card-text pre").textContent = (await ask("card", { name })).text;
    find("dialog.card-text", HTMLDialogElement).showModal();
  }

  /** @param {ReleaseSummary} release */
  function releaseRow({ name, simulated, kept, threshold, precision, critic, note }) {
    const label = simulated ? `${name} · ${say("simulated votes")}` : name;
    return [
      make("input", { type: "checkbox", value: name, ariaLabel: name }),
      make("span", { className: simulated ? "alarm" : "", textContent: label }),
      count(kept), short(threshold), `${short(precision.value)} ${range(precision)}`, critic, note,
      make("button", { type: "button", className: "plain", textContent: say("Show"), onclick: () => showCard(name).catch(showError) }),
    ];
  }

  async function compare() {
    const boxes = [...root.querySelectorAll(".releases input:checked")];
    const [first, second, ...others] = boxes.map((box) => (box instanceof HTMLInputElement ? box.value : ""));
    if (!first || !second || others.length) return page.showMessage(say("Select two releases to compare."));
    const { kept_by_both: both, only_first: one, only_second: other } = await ask("compare_releases", { first, second });
    find(".release-comparison").replaceChildren(
      make("p", { textContent: say("kept by both: {n}", { n: count(both) }) }),
      ...[one, other].map((side) => make("p", { textContent: say("kept by {release} only: {n}", { release: side.release, n: count(side.triples) }) })),
      ...[one, other].flatMap((side) => side.examples.map((text) => make("p", { className: "quiet", textContent: `${side.release}: ${text}` }))));
  }

  onSubmit(form, create);
  onAction(root, (action) => {
    if (action === "compare-releases") compare().catch(showError);
  });

  return {
    open,
    /** @param {ReleaseSummary[]} list */
    show(list) {
      find(".releases").hidden = !list.length;
      find("[data-do='compare-releases']").hidden = list.length < 2;
      const head = ["Compare", "Name", "Kept", "Threshold", "Precision", "Critic", "Note", "Data card"];
      fillTable(find(".releases table", HTMLTableElement), head, list.map(releaseRow));
    },
  };
}
