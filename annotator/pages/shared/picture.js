// @ts-check
/** Image elements in the width that the screen needs. */

import { ROOT } from "./urls.js";

const MAX_WIDTH = 1280;

/**
 * The element of an image, which loads and decodes already: from the server, or of an upload.
 * @param {{url?: string, data?: string}} image
 * @param {number} width
 */
export function picture(image, width) {
  const img = new Image();
  const pixels = Math.ceil(Math.min(width, MAX_WIDTH) * Math.min(devicePixelRatio, 2));
  img.src = image.data ?? `${ROOT}${image.url}?width=${pixels}`;
  img.decode().catch(() => {}); // a browser shows a broken image by itself
  return img;
}
