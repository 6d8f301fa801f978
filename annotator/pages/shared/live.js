// @ts-check
/** Keeps a page up to date without losing the reader's place. */

const EVERY_MS = 10_000;
/** Loading takes at most this share of the time. */
const LOAD_SHARE = 0.05;

/**
 * Load again when the version has changed, while the page is visible and nothing is being done on it.
 * @param {HTMLElement} root
 * @param {() => Promise<string>} version
 * @param {() => Promise<void>} load
 */
export function keepLive(root, version, load) {
  let known = "";
  let wait = EVERY_MS;
  const look = async () => {
    const current = await version();
    if (known && current !== known) {
      const start = performance.now();
      await keepPlace(root, load);
      wait = Math.max(EVERY_MS, (performance.now() - start) / LOAD_SHARE);
    }
    known = current;
  };
  // A failure shows nothing: the next attempt follows.
  const lookIfIdle = async () => {
    if (document.visibilityState === "visible" && !isBusy(root)) await look().catch(() => {});
  };
  const tick = async () => {
    await lookIfIdle();
    setTimeout(tick, wait);
  };
  look().catch(() => {});
  setTimeout(tick, wait);
  document.addEventListener("visibilitychange", lookIfIdle);
}

/** @param {HTMLElement} root */
function isBusy(root) {
  const selection = getSelection();
  return Boolean(root.querySelector("dialog[open]"))
    || Boolean(selection && !selection.isCollapsed && root.contains(selection.anchorNode));
}

/**
 * Render again; what had the focus has it afterwards, and the page stays where it was scrolled to.
 * @param {HTMLElement} root
 * @param {() => Promise<void>} render
 */
export async function keepPlace(root, render) {
  const section = document.activeElement?.closest("section[aria-label]");
  const index = section ? focusable(section).indexOf(/** @type {Element} */ (document.activeElement)) : -1;
  const scrolled = [...root.querySelectorAll(".scroll")].map((box) => /** @type {[Element, number]} */ ([box, box.scrollLeft]));
  const top = scrollY;
  await render();
  for (const [box, left] of scrolled) box.scrollLeft = left;
  scrollTo({ top, behavior: "instant" });
  const element = section && index >= 0 ? focusable(section)[index] : null;
  if (element instanceof HTMLElement || element instanceof SVGElement) element.focus({ preventScroll: true });
}

/** @param {Element} section */
function focusable(section) {
  return [...section.querySelectorAll("a, button, input, select, [tabindex]")];
}
