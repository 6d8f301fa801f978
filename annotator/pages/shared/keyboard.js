// @ts-check
/** What a key on a page for deciding means. No DOM. */

/**
 * @typedef {{do: "action", name: string}
 *   | {do: "reason", index: number, several: boolean}
 *   | {do: "submit"} | {do: "cancel"} | {do: "step", by: 1 | -1}} Command
 * @typedef {Pick<KeyboardEvent,
 *   "key" | "code" | "shiftKey" | "repeat" | "ctrlKey" | "metaKey" | "altKey">} KeyPress
 */

/**
 * The command of a key: digits choose reasons once a rejection has begun, Enter submits them.
 * @param {KeyPress} press
 * @param {Record<string, string>} keys the key of each action
 * @param {readonly string[] | null} reasons chosen so far; null while no rejection has begun
 * @returns {Command | null} null if the key means nothing here
 */
export function commandOf(press, keys, reasons) {
  if (press.repeat || press.ctrlKey || press.metaKey || press.altKey) return null;
  // By its place on the keyboard: with Shift, the key of a digit writes another character.
  const digit = /^(?:Digit|Numpad)([1-6])$/.exec(press.code)?.[1];
  if (digit && reasons !== null) return { do: "reason", index: Number(digit) - 1, several: press.shiftKey };
  if (press.key === "Enter" && reasons?.length) return { do: "submit" };
  if (press.key === "Escape") return { do: "cancel" };
  if (press.key === "ArrowRight") return { do: "step", by: 1 };
  if (press.key === "ArrowLeft") return { do: "step", by: -1 };
  const name = Object.keys(keys).find((action) => keys[action] === press.key.toLowerCase());
  return name === undefined ? null : { do: "action", name };
}

/**
 * Carry out the command of each key that is not typed into a field or pressed in a dialog.
 * @param {HTMLElement} root
 * @param {(press: KeyPress) => Command | null} read
 * @param {(command: Command) => void} run
 */
export function onCommand(root, read, run) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const isField = target instanceof Element && target.closest("input, textarea, select");
    const command = isField || root.querySelector("dialog[open]") ? null : read(event);
    if (!command) return;
    event.preventDefault();
    run(command);
  });
}
