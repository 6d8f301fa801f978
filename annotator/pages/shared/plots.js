// Charts of the critic page and the demo page, as SVG.
"use strict";
LSKD.plots = (() => {
  const { say } = LSKD;
  const SVG = "http://www.w3.org/2000/svg";
  const FIGURES = ["precision", "recall", "f1"];
  const frame = (width, height) => {
    const left = 44, right = 16, top = 24, bottom = 28;
    return {
      width, height, top, bottom, left, right,
      x: (t) => left + t * (width - left - right),
      y: (v) => top + (1 - v) * (height - top - bottom),
    };
  };

  function draw(tag, attributes, parent) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return parent?.appendChild(element) ?? element;
  }

  // Horizontal grid lines at quarters, and labels at `ticks` of the x axis.
  function grid(at, ticks) {
    const svg = draw("svg", { viewBox: `0 0 ${at.width} ${at.height}` });
    for (const v of [0, 0.25, 0.5, 0.75, 1]) {
      draw("line", { class: "grid", x1: at.left, x2: at.width - at.right, y1: at.y(v), y2: at.y(v) }, svg);
      draw("text", { x: at.left - 8, y: at.y(v) + 4, "text-anchor": "end" }, svg).textContent = v;
    }
    for (const [t, words] of ticks) draw("text", { x: at.x(t), y: at.height - 8, "text-anchor": "middle" }, svg).textContent = words;
    return svg;
  }

  const tenths = [0, 0.2, 0.4, 0.6, 0.8, 1].map((t) => [t, t]);

  // Precision, recall and F1 by threshold with their intervals, and the line that marks the threshold.
  function curve(table) {
    const at = frame(660, 300), svg = grid(at, tenths);
    for (const name of FIGURES) {
      const group = draw("g", { class: name }, svg);
      const { value, low, high } = table[name];
      const points = table.threshold.map((t, i) => [t, value[i], low[i], high[i]]).filter(([, v]) => v !== null);
      const bounded = points.filter(([, , bound]) => bound !== null);
      const upper = bounded.map(([t, , , bound]) => `${at.x(t)} ${at.y(bound)}`), lower = bounded.map(([t, , bound]) => `${at.x(t)} ${at.y(bound)}`).reverse();
      if (bounded.length) draw("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }, group);
      // Between two scores the kept triples do not change: the curve is a step function.
      draw("path", { class: "line", d: points.map(([t, v], i) => `${i ? `H${at.x(points[i - 1][0])}V${at.y(v)}H` : `M${at.x(0)} ${at.y(v)}H`}${at.x(t)}`).join("") }, group);
    }
    const cut = draw("g", {}, svg);
    draw("line", { class: "cut", x1: 0, x2: 0, y1: at.top - 6, y2: at.height - at.bottom }, cut);
    draw("circle", { class: "knob", cx: 0, cy: at.top - 10, r: 7 }, cut);
    return {
      svg,
      move: (threshold) => cut.setAttribute("transform", `translate(${at.x(threshold)} 0)`),
      threshold: (share) => (share * at.width - at.left) / (at.width - at.left - at.right),
    };
  }

  // Mean score against acceptance rate; the size of a dot is its number of triples.
  function calibration(rows) {
    const at = frame(420, 280), svg = grid(at, tenths);
    const most = Math.max(...rows.map((row) => row.triples));
    draw("line", { class: "ideal", x1: at.x(0), y1: at.y(0), x2: at.x(1), y2: at.y(1) }, svg);
    for (const row of rows) {
      const dot = draw("circle", { class: "dot", cx: at.x(row.mean_score), cy: at.y(row.acceptance_rate), r: 3 + 3 * (row.triples / most) }, svg);
      draw("title", {}, dot).textContent = say("mean score {score}: {share} of {n} triples accepted", { score: row.mean_score.toFixed(2), share: row.acceptance_rate.toFixed(2), n: row.triples });
    }
    return svg;
  }

  // Average precision of each run with its interval, in order of time.
  function history(runs) {
    const at = frame(420, 200), last = Math.max(1, runs.length - 1);
    const places = runs.map((_, i) => (runs.length > 1 ? i / last : 0.5));
    const every = Math.ceil(runs.length / 6);
    const svg = grid(at, runs.map((run, i) => [places[i], run.labelled_triples ?? ""]).filter((_, i) => i % every === 0));
    const line = runs.map((run, i) => `${i ? "L" : "M"}${at.x(places[i])} ${at.y(run.average_precision.value ?? 0)}`).join("");
    draw("path", { class: "line precision", d: line }, svg);
    runs.forEach((run, i) => {
      const { value, low, high } = run.average_precision;
      if (low !== null) draw("line", { class: "whisker", x1: at.x(places[i]), x2: at.x(places[i]), y1: at.y(low), y2: at.y(high) }, svg);
      const dot = draw("circle", { class: "dot", cx: at.x(places[i]), cy: at.y(value ?? 0), r: 4 }, svg);
      draw("title", {}, dot).textContent = `${run.name}: ${(value ?? 0).toFixed(3)}`;
    });
    return svg;
  }

  // Training losses of several students by step as lines; held-out losses as dots.
  function losses(runs) {
    const at = frame(660, 300), svg = draw("svg", { viewBox: `0 0 ${at.width} ${at.height}` });
    const all = runs.flatMap((run) => [...run.loss, ...run.held_out_loss]);
    const last = Math.max(1, ...all.map(([step]) => step)), most = Math.max(0.001, ...all.map(([, loss]) => loss));
    for (const v of [0, 0.25, 0.5, 0.75, 1]) {
      draw("line", { class: "grid", x1: at.left, x2: at.width - at.right, y1: at.y(v), y2: at.y(v) }, svg);
      draw("text", { x: at.left - 8, y: at.y(v) + 4, "text-anchor": "end" }, svg).textContent = (v * most).toPrecision(2);
      draw("text", { x: at.x(v), y: at.height - 8, "text-anchor": "middle" }, svg).textContent = Math.round(v * last);
    }
    runs.forEach((run, n) => {
      const group = draw("g", { class: `run run${n % 6}` }, svg);
      const place = ([step, loss]) => [at.x(step / last), at.y(loss / most)];
      draw("path", { class: "line", d: run.loss.map((one, i) => `${i ? "L" : "M"}${place(one).join(" ")}`).join("") }, group);
      for (const one of run.held_out_loss) {
        const [cx, cy] = place(one), dot = draw("circle", { class: "dot", cx, cy, r: 4 }, group);
        draw("title", {}, dot).textContent = `${run.name}, ${one[0]}: ${one[1].toFixed(3)}`;
      }
    });
    return svg;
  }

  return { FIGURES, curve, calibration, history, losses };
})();
