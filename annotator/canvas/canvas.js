// The region canvas, texts whose [n] highlight its regions, and what all pages share. Texts are never inserted as HTML.
"use strict";
window.LSKD = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  // As in regions/references.py: no sign, no leading zeros, at most nine digits.
  const REFERENCE = /\[(0|[1-9][0-9]{0,8})\]/;

  const palette = () => JSON.parse(document.getElementById("lskd-palette").textContent);

  function paint(element, number) {
    const colours = palette();
    const [region, ink] = colours[number % colours.length];
    element.style.setProperty("--region", region);
    element.style.setProperty("--ink", ink);
    element.dataset.region = number;
  }

  function make(tag, options = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function chip(number, canvas) {
    const button = make("button", { class: "chip", type: "button", textContent: number });
    button.setAttribute("aria-label", say("region {n}", { n: number }));
    paint(button, number);
    if (canvas) {
      button.addEventListener("mouseenter", () => canvas.light(number));
      button.addEventListener("mouseleave", () => canvas.light(null));
      button.addEventListener("focus", () => canvas.light(number));
      button.addEventListener("blur", () => canvas.light(null));
      button.addEventListener("click", () => canvas.light(number));
      canvas.chips.add(button);
    }
    return button;
  }

  // Writes a text with its references as chips; references to regions that are not in `known` stay text.
  function write(element, text, known, canvas = null) {
    element.dir = "auto";
    element.replaceChildren(
      ...text.split(REFERENCE).map((piece, i) => {
        if (i % 2 === 0) return document.createTextNode(piece);
        return known.has(Number(piece)) ? chip(Number(piece), canvas) : document.createTextNode(`[${piece}]`);
      }),
    );
  }

  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  const ringArea = (ring) =>
    Math.abs(ring.reduce((sum, [x, y], i) => {
      const [u, v] = ring[(i + 1) % ring.length];
      return sum + x * v - u * y;
    }, 0)) / 2;
  const size = (region) =>
    region.polygons.length ? region.polygons.reduce((sum, ring) => sum + ringArea(ring), 0) : area(region.box);

  function inRing(ring, x, y) {
    let inside = false;
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [ax, ay] = ring[i], [bx, by] = ring[j];
      if (ay > y !== by > y && x < ax + ((y - ay) * (bx - ax)) / (by - ay)) inside = !inside;
    }
    return inside;
  }

  // The region of a click: the smallest one under it, of equal ones the lowest number.
  function regionAt(regions, x, y) {
    const under = regions.filter(({ box, polygons }) =>
      polygons.length
        ? polygons.some((ring) => inRing(ring, x, y))
        : x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]);
    under.sort((a, b) => size(a) - size(b) || a.number - b.number);
    return under.length ? under[0].number : null;
  }

  const apart = (a, b) => a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;

  // Candidate places of a number (as in regions/marks.py): beside a small region, which it would
  // hide otherwise, else in a box's corners or on an outline.
  function spotsOf({ box, polygons }, scale, w, h) {
    const [x1, y1, x2, y2] = box.map((v) => v * scale);
    if (x2 - x1 < 2 * w || y2 - y1 < 2 * h) return [[x1, y1 - h], [x2, y1], [x1 - w, y1], [x1, y2]];
    if (!polygons.length) return [[x1, y1], [x2 - w, y1], [x1, y2 - h], [x2 - w, y2 - h]];
    const corners = polygons.flat();
    const ends = [[1, 1], [0, 1], [0, -1], [1, -1]].map(([axis, sign]) =>
      corners.reduce((best, corner) => (sign * corner[axis] < sign * best[axis] ? corner : best)));
    return ends.map(([x, y]) => [x * scale - w / 2, y * scale - h / 2]);
  }

  // Places the numbers of small regions first; they do not overlap while there is room.
  function placeBadges(badges, scale, width, height) {
    const taken = [];
    for (const { element, region } of [...badges].sort((a, b) => size(a.region) - size(b.region))) {
      const w = element.offsetWidth, h = element.offsetHeight;
      const spots = spotsOf(region, scale, w, h);
      const [x1, y1] = spots[0];
      for (let x = x1; x < x1 + 8 * w; x += w / 2) spots.push([x, y1]);
      for (let y = y1; y < y1 + 8 * h; y += h / 2) spots.push([x1, y]);
      const inside = spots.map(([x, y]) => ({
        x: Math.max(0, Math.min(x, width - w)), y: Math.max(0, Math.min(y, height - h)), w, h,
      }));
      const spot = inside.find((s) => taken.every((other) => apart(s, other))) ?? inside[0];
      taken.push(spot);
      element.style.left = `${(100 * spot.x) / width}%`;
      element.style.top = `${(100 * spot.y) / height}%`;
    }
  }

  class Canvas {
    // Callbacks: pick(number) for a click on a region, draw(box, polygons) for a drawn one, in image pixels.
    constructor(host, { pick = null, draw = null } = {}) {
      this.pick = pick;
      this.draw = draw;
      this.chips = new Set();
      this.stage = make("div", { class: "stage" });
      this.frame = make("div", { class: "frame" }, this.stage);
      this.caption = make("figcaption");
      host.replaceChildren(make("figure", { class: "canvas" }, this.frame, this.caption));
      this.frame.classList.toggle("drawable", Boolean(draw));
      new ResizeObserver(() => this.arrange()).observe(this.frame);
      this.listen();
    }

    // item: {image: {width, height, url, title...}, regions, mentioned}; img: a loaded element.
    show({ image, regions, mentioned = [] }, img) {
      this.image = image;
      this.regions = regions;
      this.mentioned = new Set(mentioned);
      this.chips.clear();
      this.zoom = { k: 1, x: 0, y: 0 };
      this.frame.style.setProperty("--ratio", image.width / image.height);
      img.alt = image.title || say("picture");
      img.draggable = false;
      this.svg = document.createElementNS(SVG, "svg");
      this.svg.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
      this.svg.setAttribute("aria-hidden", "true");
      this.corners = null;
      this.shapes = regions.map((region) => this.outline(region));
      // Large ones first, so that small ones lie above them.
      this.svg.append(...[...this.shapes].sort((a, b) => b.area - a.area).map((s) => s.group));
      this.badges = regions.map((region) => {
        const element = make("span", { class: "badge", textContent: region.number });
        paint(element, region.number);
        return { element, region, number: region.number };
      });
      this.stage.replaceChildren(img, this.svg, ...this.badges.map((b) => b.element));
      this.caption.textContent = [image.title, image.author, image.licence].filter(Boolean).join(" · ");
      this.apply();
      this.light(null);
      this.arrange();
    }

    outline(region) {
      const group = document.createElementNS(SVG, "g");
      paint(group, region.number);
      const [x1, y1, x2, y2] = region.box;
      const rings = region.polygons.length ? region.polygons : [[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]];
      const d = rings.map((ring) => `M${ring.map((p) => p.map(Number).join(" ")).join("L")}Z`).join("");
      for (const name of ["casing", "shape"]) {
        const path = document.createElementNS(SVG, "path");
        path.setAttribute("class", name);
        path.setAttribute("d", d);
        group.append(path);
      }
      return { group, area: size(region), number: region.number };
    }

    arrange() {
      if (!this.image) return;
      const width = this.frame.clientWidth, height = this.frame.clientHeight;
      if (width && height) placeBadges(this.badges, width / this.image.width, width, height);
    }

    // Highlights one region and fades the others; null: none.
    light(number) {
      this.active = number;
      const mark = (element, n) => {
        element.classList.toggle("on", n === number);
        element.classList.toggle("strong", this.mentioned.has(n));
        element.classList.toggle("back", number !== null && n !== number);
      };
      for (const { group, number: n } of this.shapes) mark(group, n);
      for (const { element, number: n } of this.badges) mark(element, n);
      for (const element of this.chips) element.classList.toggle("on", Number(element.dataset.region) === number);
    }

    step(by) {
      const numbers = this.regions.map((region) => region.number);
      if (!numbers.length) return;
      const at = numbers.indexOf(this.active);
      this.light(numbers[(at + by + numbers.length + (at < 0 && by < 0 ? 1 : 0)) % numbers.length]);
    }

    // The pointer position in image pixels.
    at(event) {
      const { left, top, width } = this.stage.getBoundingClientRect();
      const scale = this.image.width / width;
      return [
        Math.max(0, Math.min((event.clientX - left) * scale, this.image.width)),
        Math.max(0, Math.min((event.clientY - top) * scale, this.image.height)),
      ];
    }

    apply() {
      const { k, x, y } = this.zoom;
      this.stage.style.transform = k === 1 ? "" : `translate(${x}px, ${y}px) scale(${k})`;
      this.stage.style.setProperty("--unzoom", 1 / k);
    }

    zoomAt(clientX, clientY, factor) {
      const { left, top, width, height } = this.frame.getBoundingClientRect();
      const { k, x, y } = this.zoom;
      const next = Math.max(1, Math.min(8, k * factor));
      const px = clientX - left, py = clientY - top;
      this.zoom = {
        k: next,
        x: Math.min(0, Math.max(px - ((px - x) * next) / k, width - width * next)),
        y: Math.min(0, Math.max(py - ((py - y) * next) / k, height - height * next)),
      };
      this.apply();
    }

    // Starts an outline: each click adds a corner until `close`.
    trace() {
      this.corners = [];
      this.line = this.svg.appendChild(document.createElementNS(SVG, "path"));
      this.line.setAttribute("class", "shape drawn");
    }

    corner(point) {
      this.corners.push(point.map(Math.round));
      this.line.setAttribute("d", `M${this.corners.map((p) => p.join(" ")).join("L")}`);
    }

    close() {
      const ring = this.corners ?? [];
      this.corners = null;
      this.line?.remove();
      const xs = ring.map((p) => p[0]), ys = ring.map((p) => p[1]);
      const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
      if (ring.length >= 3 && box[2] - box[0] >= 4 && box[3] - box[1] >= 4) this.draw(box, [ring]);
    }

    listen() {
      const frame = this.frame;
      let start = null, ghost = null, panned = false;
      frame.addEventListener("wheel", (event) => {
        if (!this.image || (!event.ctrlKey && this.zoom.k === 1 && event.deltaY > 0)) return;
        event.preventDefault();
        this.zoomAt(event.clientX, event.clientY, Math.exp(-event.deltaY / 400));
      }, { passive: false });
      frame.addEventListener("dblclick", () => {
        if (this.corners) return this.close();
        this.zoom = { k: 1, x: 0, y: 0 };
        this.apply();
      });
      frame.addEventListener("pointerdown", (event) => {
        if (!this.image || event.button) return;
        start = { at: this.at(event), x: event.clientX, y: event.clientY, zoom: { ...this.zoom } };
        panned = false;
      });
      frame.addEventListener("pointermove", (event) => {
        if (!this.image) return;
        if (!start) {
          this.light(event.pointerType === "mouse" ? regionAt(this.regions, ...this.at(event)) : this.active);
          return;
        }
        const dx = event.clientX - start.x, dy = event.clientY - start.y;
        if (!panned && Math.hypot(dx, dy) < 6) return;
        panned = true;
        if (this.draw && !this.corners) {
          frame.setPointerCapture(event.pointerId);
          ghost ??= this.svg.appendChild(document.createElementNS(SVG, "rect"));
          ghost.setAttribute("class", "shape drawn");
          const [x, y] = this.at(event);
          ghost.setAttribute("x", Math.min(x, start.at[0]));
          ghost.setAttribute("y", Math.min(y, start.at[1]));
          ghost.setAttribute("width", Math.abs(x - start.at[0]));
          ghost.setAttribute("height", Math.abs(y - start.at[1]));
        } else if (this.zoom.k > 1) {
          const { clientWidth: w, clientHeight: h } = frame;
          const { k, x, y } = start.zoom;
          this.zoom = { k, x: Math.min(0, Math.max(x + dx, w - w * k)), y: Math.min(0, Math.max(y + dy, h - h * k)) };
          this.apply();
        }
      });
      frame.addEventListener("pointerup", (event) => {
        if (!start) return;
        const [x, y] = this.at(event), [u, v] = start.at;
        start = null;
        ghost?.remove();
        ghost = null;
        if (panned && this.draw) {
          const box = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)].map(Math.round);
          if (!this.corners && box[2] - box[0] >= 4 && box[3] - box[1] >= 4) this.draw(box, []);
        } else if (this.corners) {
          this.corner([x, y]);
        } else if (!panned) {
          const number = regionAt(this.regions, x, y);
          if (number !== null && this.pick) this.pick(number);
          this.light(number);
        }
      });
      frame.addEventListener("pointercancel", () => { start = null; ghost?.remove(); ghost = null; });
      frame.addEventListener("pointerleave", () => { if (this.image && !start) this.light(null); });
    }
  }

  // An image element in the width that the screen needs, already loading and decoding.
  function picture(image, width) {
    const img = new Image();
    img.src = image.data ?? `${image.url}?width=${Math.ceil(Math.min(width, 1280) * Math.min(devicePixelRatio, 2))}`;
    img.ready = img.decode().catch(() => {});
    return img;
  }

  async function call(path, body, method = "POST") {
    const response = await fetch(path, body === undefined
      ? { headers: { accept: "application/json" } }
      : { method, keepalive: true, headers: { "content-type": "application/json", "x-lskd": "1" }, body: JSON.stringify(body) });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw Object.assign(new Error(answer.error ?? response.statusText), { status: response.status });
    return answer;
  }

  // ---- translations: the English texts are the keys; missing ones stay English
  let words = {};
  const say = (sentence, values = {}) =>
    Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), words[sentence] ?? sentence);

  function translate(root) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode, sentence = node.data.trim();
      if (words[sentence]) node.data = node.data.replace(sentence, words[sentence]);
    }
    for (const name of ["aria-label", "placeholder", "title"]) {
      for (const element of root.querySelectorAll(`[${name}]`)) element.setAttribute(name, say(element.getAttribute(name)));
    }
  }

  // Loads the user and the translations; shows the links that the user may open, and Sign out.
  async function begin(root) {
    const me = await call("/api/me");
    const browser = navigator.language.slice(0, 2);
    const language = me.preferences.language ?? (browser in me.languages ? browser : "en");
    words = await call(`/api/words/${language}`);
    document.documentElement.lang = language;
    const rank = ["annotator", "researcher", "admin"];
    for (const link of root.querySelectorAll("nav a")) {
      link.hidden = me.batch ? link.dataset.needs !== "worker" : rank.indexOf(link.dataset.needs) > rank.indexOf(me.role);
    }
    if (me.name !== "local") {
      const out = make("form", { method: "post", action: "/logout" }, make("button", { class: "plain", type: "submit", textContent: say("Sign out") }));
      root.querySelector(".account").replaceChildren(make("span", { textContent: me.name }), out);
    }
    translate(root);
    return { ...me, language };
  }

  // In the order of the keys 1 to 6 and of db/schema.py.
  const REASONS = [
    ["wrong_region", "wrong region"], ["not_in_image", "not in the picture"], ["wrong_answer", "wrong answer"],
    ["unsupported", "rationale does not support the answer"], ["trivial", "trivial"], ["harmful", "harmful"],
  ];

  return { Canvas, REASONS, begin, call, chip, make, paint, picture, regionAt, say, write, pages: {} };
})();
