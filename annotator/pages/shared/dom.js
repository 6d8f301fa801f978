// @ts-check
/** Making and finding elements. Texts go in as text nodes or by `textContent`, never as HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @typedef {{
 *   (selector: string): HTMLElement,
 *   <T extends Element>(selector: string, type: new () => T): T,
 * }} Find
 */

/**
 * A function that finds the element of a selector in `root`, which must be of a type.
 * @param {ParentNode} root
 * @returns {Find}
 */
export function finder(root) {
  return (/** @type {string} */ selector, /** @type {new () => Element} */ type = HTMLElement) => {
    const element = root.querySelector(selector);
    if (!(element instanceof type)) throw new Error(`there is no ${type.name} at ${selector}`);
    return /** @type {any} */ (element);
  };
}

/**
 * Make an element with some of its properties and children; strings become text.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Partial<HTMLElementTagNameMap[K]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * Make an SVG element with attributes and children.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Call `send` with the texts of a form's fields by name whenever it is submitted.
 * @param {HTMLFormElement} form
 * @param {(fields: Record<string, string>) => void} send
 */
export function onSubmit(form, send) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)])));
  });
}

/**
 * Call `act` with the button of each click on an element with `data-do`, and with its value.
 * @param {HTMLElement} root
 * @param {(action: string, button: HTMLElement) => void} act
 */
export function onAction(root, act) {
  root.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-do]") : null;
    if (button instanceof HTMLElement) act(button.dataset.do ?? "", button);
  });
}

/**
 * The message of an error, for people.
 * @param {unknown} error
 */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
