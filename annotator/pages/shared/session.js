// @ts-check
/** The signed-in person: language, the links that they may open, and Sign out. */

import { call } from "./api.js";
import { finder, make } from "./dom.js";
import { say, translate, useLanguage } from "./language.js";
import { ROOT } from "./urls.js";

/** @import { MeOut } from "./payloads.d.ts" */

const ROLES = ["annotator", "researcher", "admin"];

/**
 * Prepare a page for the person who opens it; what each page does first.
 * @param {HTMLElement} root
 * @returns {Promise<MeOut & {language: string}>}
 */
export async function begin(root) {
  /** @type {MeOut} */
  const me = await call("/api/me");
  const browser = navigator.language.slice(0, 2);
  const language = me.preferences.language ?? (browser in me.languages ? browser : "en");
  await useLanguage(language);
  for (const link of root.querySelectorAll("nav a")) {
    if (link instanceof HTMLElement) link.hidden = !mayOpen(me, link.dataset.needs ?? "");
  }
  if (me.name !== "local") {
    const button = make("button", { className: "plain", type: "submit", textContent: say("Sign out") });
    finder(root)(".account").replaceChildren(
      me.batch === null ? make("a", { href: `${ROOT}/account`, textContent: me.name }) : make("span", { textContent: me.name }),
      make("form", { method: "post", action: `${ROOT}/logout` }, button),
    );
  }
  translate(root);
  return { ...me, language };
}

/**
 * Whether to show a link; the server decides who may open a page.
 * @param {MeOut} me
 * @param {string} needs
 */
function mayOpen(me, needs) {
  if (me.batch !== null) return needs === "worker";
  return ROLES.indexOf(needs) <= ROLES.indexOf(me.role);
}
