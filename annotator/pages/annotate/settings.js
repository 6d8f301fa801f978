// @ts-check
/** The dialog of keys and language, and the key on each button. */

import { call } from "../shared/api.js";
import { finder, make, messageOf, onSubmit } from "../shared/dom.js";
import { say } from "../shared/language.js";

/** @import { MeOut, Preferences } from "../shared/payloads.d.ts" */

/** @type {Record<string, string>} */
const ACTIONS = { accept: "Accept", reject: "Reject", skip: "Skip", undo: "Undo", flag: "Flag", history: "History", guidelines: "Guidelines", help: "Keys" };

/**
 * Fill the dialog, and save what is chosen in it.
 * @param {HTMLElement} root
 * @param {MeOut & {language: string}} me
 * @returns {() => Record<string, string>} the key of each action
 */
export function addSettings(root, me) {
  const find = finder(root);
  let { keys } = me.preferences;

  function show() {
    for (const [action, key] of Object.entries(keys)) {
      const places = root.querySelectorAll(`[data-do=${action}] kbd, [data-key=${action}]`);
      for (const place of places) place.textContent = key.toUpperCase();
    }
    find(".settings .keys").replaceChildren(...Object.entries(keys).map(([action, key]) => {
      const input = make("input", { type: "text", name: action, value: key, maxLength: 1, size: 2, required: true, autocomplete: "off" });
      return make("label", {}, `${say(ACTIONS[action] ?? action)} `, input);
    }));
    const languages = Object.entries(me.languages);
    const select = find(".settings [name=language]", HTMLSelectElement);
    select.replaceChildren(...languages.map(([value, name]) => make("option", { value, textContent: name })));
    select.value = me.language;
    find("[data-do=leave]").hidden = me.name === "local";
  }

  onSubmit(find(".settings", HTMLFormElement), async ({ language, ...chosen }) => {
    try {
      /** @type {Preferences} */
      const saved = await call("/api/me/preferences", { language, keys: chosen }, "PUT");
      if (language !== me.language) return location.reload();
      ({ keys } = saved);
      show();
      find("dialog.help", HTMLDialogElement).close();
    } catch (error) {
      find(".settings .alarm").textContent = say(messageOf(error));
    }
  });

  show();
  return () => keys;
}
