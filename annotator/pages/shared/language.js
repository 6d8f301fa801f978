// @ts-check
/** Translations: the English texts are the keys; missing ones stay English. */

import { call } from "./api.js";

/** @type {Record<string, string>} */
let words = {};

/** @param {string} language */
export async function useLanguage(language) {
  words = await call(`/api/words/${language}`);
  document.documentElement.lang = language;
}

/**
 * A text in the language of the page, with values in place of {names}.
 * @param {string} text
 * @param {object} [values]
 */
export function say(text, values = {}) {
  const translated = words[text] ?? text;
  return Object.entries(values).reduce((said, [name, value]) => said.replaceAll(`{${name}}`, String(value)), translated);
}

/**
 * Translate the texts of a page's static HTML, and the attributes that are shown or read out.
 * @param {HTMLElement} root
 */
export function translate(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.nodeValue ?? "", key = text.trim();
    const translated = words[key];
    if (translated) node.nodeValue = text.replace(key, () => translated);
  }
  for (const name of ["aria-label", "placeholder", "title"]) {
    for (const element of root.querySelectorAll(`[${name}]`)) element.setAttribute(name, say(element.getAttribute(name) ?? ""));
  }
}
