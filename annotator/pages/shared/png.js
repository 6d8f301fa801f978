// @ts-check
/** A chart as a png: an SVG drawn with the styles it has on the page. */

const SCALE = 2;
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight"];

/**
 * Download an SVG of the page as a png.
 * @param {SVGSVGElement} svg
 * @param {string} name of the file, without its ending
 */
export async function downloadPng(svg, name) {
  const blob = await pngOf(svg);
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${name}.png` });
  link.click();
  URL.revokeObjectURL(link.href);
}

/**
 * @param {SVGSVGElement} svg
 * @returns {Promise<Blob>}
 */
async function pngOf(svg) {
  const { width, height } = svg.viewBox.baseVal;
  const copy = styledCopy(svg);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(width * SCALE));
  copy.setAttribute("height", String(height * SCALE));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: width * SCALE, height: height * SCALE });
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser cannot draw pictures");
  context.fillStyle = getComputedStyle(svg.closest(".card") ?? document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("this browser cannot make a png"))), "image/png");
  });
}

/**
 * A copy whose elements have the styles that the page's style sheets give to the original.
 * @param {SVGSVGElement} svg
 */
function styledCopy(svg) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const originals = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((element, i) => {
    const original = originals[i];
    if (!original) return;
    const style = getComputedStyle(original);
    element.setAttribute("style", STYLES.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  return copy;
}
