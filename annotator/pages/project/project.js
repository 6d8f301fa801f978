// The project page: draws the statistics that annotator/labels/statistics.py computes.
"use strict";
LSKD.pages.project = async (root) => {
  const { REASONS, begin, call, make, say } = LSKD;
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 560, HEIGHT = 180, LEFT = 40, BOTTOM = 24, TOP = 18;
  const $ = (selector) => root.querySelector(selector);
  await begin(root);
  const ORDERS = { uncertain: "critic's least certain first", disagreed: "most disagreement first" };
  const parameters = new URLSearchParams(location.search);
  const showMessage = (text) => { $(".message").textContent = text; };
  const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);
  const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
  const seconds = (ms) => (ms === null ? "–" : `${(ms / 1000).toFixed(1)} s`);
  $("[name=wage]").value = localStorage.getItem("lskd-wage") ?? "15";
  $("[name=simulated]").checked = parameters.get("simulated") === "true";
  let data = null;

  async function load() {
    const query = new URLSearchParams({ simulated: $("[name=simulated]").checked });
    if ($("[name=batch]").value) query.set("batch", $("[name=batch]").value);
    data = await call(`/api/research/project?${query}`);
    showBatchChoice();
    showFigures();
    showHours();
    showDays();
    showReasons();
    showTables();
    $("main").hidden = false;
    showMessage("");
  }

  function showBatchChoice() {
    const select = $("[name=batch]"), chosen = select.value || parameters.get("batch") || "";
    select.replaceChildren(make("option", { value: "", textContent: say("all votes") }), ...data.batches.map((b) => make("option", { value: b.name, textContent: b.name })));
    select.value = chosen;
  }

  function showFigures() {
    const { votes, pace_ms, hours } = data.left;
    const wage = Number($("[name=wage]").value);
    const alpha = data.agreement.find((row) => row.name === "Krippendorff's alpha");
    const rows = [
      [data.votes.toLocaleString("en"), say("of {n} votes", { n: data.votes_required.toLocaleString("en") })],
      [share(data.acceptance), say("accepted")],
      [alpha ? two(alpha.value) : "–", alpha ? say("Krippendorff's alpha, {low} to {high}", { low: two(alpha.low), high: two(alpha.high) }) : say("Agreement: no triple has two votes yet")],
      [seconds(pace_ms), say("median time per vote")],
      [hours === null ? "–" : `${hours.toFixed(1)} h`, say("time remaining for {n} votes", { n: votes.toLocaleString("en") })],
      [hours === null ? "–" : (hours * wage).toFixed(2), say("cost remaining at {wage} per hour", { wage })],
      [data.flags, say("open flags")],
    ];
    $(".figures").replaceChildren(...rows.map(([value, label]) => make("div", {}, make("b", { textContent: value }), make("span", { textContent: label }))));
  }

  // ---- charts: every mark has a label for pointer, keyboard and screen reader
  function draw(tag, attributes, parent) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return parent.appendChild(element);
  }

  function chart(host, low, high, label) {
    const svg = document.createElementNS(SVG, "svg"), output = make("output");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", label);
    const y = (v) => TOP + (1 - (v - low) / (high - low || 1)) * (HEIGHT - TOP - BOTTOM);
    for (const v of [low, (low + high) / 2, high]) {
      draw("line", { class: "grid", x1: LEFT, x2: WIDTH, y1: y(v), y2: y(v) }, svg);
      draw("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, svg).textContent = Number(v.toFixed(2));
    }
    host.replaceChildren(svg, output);
    const mark = (label) => {
      const group = draw("g", { class: "mark", tabindex: "0", role: "img", "aria-label": label }, svg);
      for (const kind of ["pointerenter", "focus"]) group.addEventListener(kind, () => { output.textContent = label; });
      return group;
    };
    const below = (x, text) => { draw("text", { x, y: HEIGHT - 6, "text-anchor": "middle" }, svg).textContent = text; };
    return { svg, y, mark, below };
  }

  const showNoData = (host) => host.replaceChildren(make("p", { class: "quiet", textContent: say("No data yet.") }));

  function showHours() {
    const rows = data.per_hour.slice(-72);
    if (!rows.length) return showNoData($(".hours"));
    const first = rows[0].hour, count = Math.round((rows.at(-1).hour - first) / 3_600_000) + 1;
    const { y, mark, below } = chart($(".hours"), 0, Math.max(...rows.map((r) => r.votes)), say("votes per hour"));
    const wide = (WIDTH - LEFT) / count;
    for (const { hour, votes } of rows) {
      const at = LEFT + ((hour - first) / 3_600_000) * wide;
      const when = new Date(hour).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
      draw("rect", { class: "bar", x: at + 1, y: y(votes), width: Math.max(1, Math.min(wide - 2, 40)), height: y(0) - y(votes), rx: 2 }, mark(say("{when}: {n} votes", { when, n: votes })));
    }
    below(LEFT + 40, new Date(first).toLocaleDateString());
    if (count > 24) below(WIDTH - 40, new Date(rows.at(-1).hour).toLocaleDateString());
  }

  function showDays() {
    const rows = data.agreement_over_time;
    if (!rows.length) showNoData($(".days"));
    else {
      const { svg, y, mark, below } = chart($(".days"), Math.min(0, ...rows.map((r) => r.alpha)), 1, say("agreement by day"));
      const x = (i) => LEFT + ((i + 0.5) / rows.length) * (WIDTH - LEFT);
      draw("path", { class: "line", d: `M${rows.map((r, i) => `${x(i)} ${y(r.alpha)}`).join("L")}` }, svg);
      rows.forEach((row, i) => draw("circle", { class: "dot", cx: x(i), cy: y(row.alpha), r: 6 }, mark(`${new Date(row.day).toLocaleDateString()}: ${two(row.alpha)}`)));
      below(x(0), new Date(rows[0].day).toLocaleDateString());
      if (rows.length > 2) below(x(rows.length - 1), new Date(rows.at(-1).day).toLocaleDateString());
    }
    $(".coefficients").replaceChildren(...data.agreement.map((row) =>
      make("tr", {}, make("th", { scope: "row", textContent: say(row.name) }), make("td", { class: "number", textContent: two(row.value) }), make("td", { class: "number quiet", textContent: say("{low} to {high}", { low: two(row.low), high: two(row.high) }) }))));
  }

  function showReasons() {
    const max = Math.max(1, ...Object.values(data.reasons));
    const rows = REASONS.filter(([name]) => data.reasons[name]);
    if (!rows.length) return showNoData($(".reasons-chart"));
    $(".reasons-chart").replaceChildren(...rows.map(([name, text]) => make("div", { class: "hbar", title: `${say(text)}: ${data.reasons[name]}` },
      make("span", { textContent: say(text) }), make("i", { style: `width: ${(100 * data.reasons[name]) / max}%` }), make("b", { textContent: data.reasons[name] }))));
  }

  // ---- tables
  function table(host, columns, rows) {
    const head = make("tr", {}, ...columns.map(([title, , number]) => make("th", { scope: "col", class: number ? "number" : "", textContent: title && say(title) })));
    host.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows.map((row) =>
      make("tr", {}, ...columns.map(([, cell, number]) => make("td", { class: number ? "number" : "" }, ...[cell(row)].flat()))))));
  }

  const button = (text, act) => make("button", { type: "button", textContent: say(text), onclick: () => act().then(load).catch((error) => showMessage(error.message)) });

  function showTables() {
    table($(".batches"), [
      ["Name", (b) => b.name], ["Triples", (b) => b.triples.toLocaleString("en"), true], ["Votes", (b) => say("{n} of {required}", { n: b.votes, required: b.votes_required }), true],
      ["Order", (b) => b.ordering === "random" ? say("random") : say("{order}, {share} random", { order: say(ORDERS[b.ordering]), share: share(b.random_share) })], ["Hidden gold", (b) => share(b.gold_rate), true], ["Min. gold accuracy", (b) => (b.min_gold_accuracy ? share(b.min_gold_accuracy) : "–"), true],
      ["", (b) => button(b.open ? "Close" : "Open", () => call(`/api/research/batches/${encodeURIComponent(b.name)}`, { open: !b.open }, "PATCH"))],
    ], data.batches);
    $(".pauses").hidden = !data.pauses.length;
    table($(".pauses table"), [
      ["Name", (p) => p.person], ["Batch", (p) => p.batch], ["Reason", (p) => p.reason], ["Since", (p) => new Date(p.created).toLocaleString()],
      ["", (p) => button("Lift pause", () => call(`/api/research/pauses/${p.id}/lift`, {}))],
    ], data.pauses);
    table($(".annotators"), [
      ["Name", (p) => [p.name, ...(p.simulated ? [make("small", { textContent: ` ${say("simulated")}` })] : [])]],
      ["Votes", (p) => p.votes, true], ["Skips", (p) => p.skips, true], ["Acceptance rate", (p) => share(p.acceptance), true],
      ["Agrees with majority", (p) => share(p.with_majority), true],
      ["Gold accuracy", (p) => (p.gold === null ? "–" : [share(p.gold), make("small", { textContent: ` ${say("{low} to {high}", { low: share(p.gold_interval[0]), high: share(p.gold_interval[1]) })} · ${say("{n} judged", { n: p.gold_judged })}` })]), true],
      ["Median time", (p) => seconds(p.pace_ms), true], ["Too fast", (p) => share(p.too_fast), true],
      ["", (p) => (p.paused ? make("small", { textContent: say("paused") }) : !$("[name=batch]").value || p.simulated ? ""
        : button("Pause", () => call("/api/research/pauses", { person: p.id, batch: $("[name=batch]").value, reason: say("A researcher has paused you in this batch.") })))],
    ], data.annotators);
  }

  // ---- wiring
  for (const name of ["batch", "simulated"]) $(`[name=${name}]`).addEventListener("change", () => load().catch((error) => showMessage(error.message)));
  $("[name=wage]").addEventListener("input", () => { localStorage.setItem("lskd-wage", $("[name=wage]").value); showFigures(); });
  root.addEventListener("click", async (event) => {
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action === "new") $("dialog.new").showModal();
    if (action === "close") event.target.closest("dialog").close();
    if (action === "guidelines") {
      $("dialog.guidelines textarea").value = (await call("/api/guidelines")).text;
      $("dialog.guidelines").showModal();
    }
  });
  const submit = (dialog, send) => $(`${dialog} form`).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await send(Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value !== "")));
      $(dialog).close();
      await load();
    } catch (error) {
      $(`${dialog} .alarm`).textContent = error.message;
    }
  });
  submit("dialog.new", (fields) => call("/api/research/batches", fields));
  submit("dialog.guidelines", (fields) => call("/api/research/guidelines", fields, "PUT"));
  load().catch((error) => showMessage(error.message));
};
