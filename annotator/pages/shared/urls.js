// @ts-check
/** Addresses of the app, which may be served below a path of a site: see `lskd app --root-path`. */

/**
 * The path below which a script is served, without a slash at its end.
 * @param {string} script path of its URL
 */
export function rootOf(script) {
  return script.slice(0, Math.max(0, script.lastIndexOf("/static/")));
}

export const ROOT = rootOf(new URL(import.meta.url).pathname);

/**
 * The address of a stored image that is at least so many pixels wide.
 * @param {{url: string}} image
 * @param {number} width
 */
export const imageUrl = (image, width) => `${ROOT}${image.url}?width=${width}`;
