// The researcher's page: the curve is in the browser, so that the threshold follows the hand.
"use strict";
LSKD.pages.critic = async (root, server) => {
  const { begin, make, say, write } = LSKD;
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 660, HEIGHT = 300, LEFT = 44, RIGHT = 16, TOP = 24, BOTTOM = 28;
  const PARTS = { question: "Question", answer: "Answer", rationale: "Rationale" };
  const FIGURES = ["precision", "recall", "f1"];
  const $ = (selector) => root.querySelector(selector);
  const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2).replace(/^0(?=\.)/, ""));
  const x = (t) => LEFT + t * (WIDTH - LEFT - RIGHT);
  const y = (v) => TOP + (1 - v) * (HEIGHT - TOP - BOTTOM);
  await begin(root);
  let critic = null, curve = null, threshold = 0.5, cut = null, asked = 0;

  // A function of the server, whose mistakes are sentences.
  async function ask(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error) throw new Error(answer.error);
    return answer;
  }

  async function load() {
    const seen = await ask("overview");
    if (!seen.critics.length) return wait(seen);
    $(".empty").hidden = true;
    $("main").hidden = false;
    critic = seen.critics[0];
    curve = await ask("curve", { run: critic.name });
    $(".status").replaceChildren(
      make("span", {}, `${say("Run")} `, make("b", { textContent: critic.name }),
        ` · ${say("{n} labelled triples, {tested} of them on {images} test images", { n: critic.labelled, tested: critic["tested on"], images: critic["test images"] })}`),
      ...(critic.simulated ? [make("span", { class: "alarm", textContent: say("simulated votes") })] : []));
    const rows = seen.releases.map((r) => make("tr", {}, ...[
      r.name, say("{n} triples", { n: r.kept }), say("threshold {t}", { t: two(r.threshold) }), r.critic, r.simulated ? say("simulated votes") : "",
    ].map((textContent) => make("td", { textContent }))));
    $(".releases").hidden = !rows.length;
    $(".releases table").replaceChildren(...rows);
    const [low, high] = critic["average precision interval"];
    tell(say("Average precision {ap} [{low}, {high}] where {acceptance} are acceptable.", { ap: two(critic["average precision"]), low: two(low), high: two(high), acceptance: two(critic.acceptance) }));
    plot();
    move(threshold);
  }

  // ---- before there is a critic
  function wait({ ready, can_simulate }) {
    const { people, simulated } = ready;
    const box = $(".empty");
    box.querySelector("h1").textContent = people.missing ? say("Not enough votes yet") : say("Ready to train");
    box.querySelector("p").textContent = people.missing
      ? say("{labelled} triples have labels. A critic needs {missing}.", people)
      : say("{labelled} triples have labels, {accepted} of them accepted, on {images} images.", people);
    const row = make("div", { class: "row" });
    if (people.missing) row.append(make("a", { class: "button", href: "/annotate/", textContent: say("Label more") }));
    else row.append(make("button", { class: "go", type: "button", textContent: say("Train the critic"), onclick: (e) => train(e.target, false) }));
    if (people.missing && can_simulate && simulated.missing) {
      row.append(make("button", { type: "button", textContent: say("Let simulated annotators vote"), onclick: (e) => busy(e.target, say("Voting…"), async () => { await ask("simulate"); await load(); }) }));
    }
    if (people.missing && !simulated.missing) {
      row.append(make("button", { type: "button", textContent: say("Train on simulated votes"), onclick: (e) => train(e.target, true) }));
    }
    box.querySelector(".row")?.remove();
    box.append(row);
    $(".status").textContent = say("no critic yet");
  }

  async function busy(button, words, work) {
    const before = button.textContent;
    button.disabled = true;
    button.textContent = words;
    try {
      await work();
    } catch (error) {
      tell(error.message);
      const text = $(".empty p");
      if (!$(".empty").hidden) text.textContent = error.message;
    }
    button.disabled = false;
    button.textContent = before;
  }

  const train = (button, simulated) => busy(button, say("Training…"), async () => { await ask("train", { simulated }); await load(); });
  const tell = (text) => { $(".told").textContent = text; };

  // ---- the plot
  function draw(tag, attributes, parent) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return parent.appendChild(element);
  }

  function plot() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    for (const v of [0, 0.25, 0.5, 0.75, 1]) {
      draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v) }, svg);
      draw("text", { x: LEFT - 8, y: y(v) + 4, "text-anchor": "end" }, svg).textContent = v;
    }
    for (const t of [0, 0.2, 0.4, 0.6, 0.8, 1]) draw("text", { x: x(t), y: HEIGHT - 8, "text-anchor": "middle" }, svg).textContent = t;
    for (const name of FIGURES) {
      const group = draw("g", { class: name }, svg);
      const at = curve.threshold.map((t, i) => [t, curve[name][i], curve[`${name} interval`][i]]).filter(([, v]) => v !== null);
      const bounded = at.filter(([, , interval]) => interval?.[0] !== null && interval?.[0] !== undefined);
      const upper = bounded.map(([t, , i]) => `${x(t)} ${y(i[1])}`), lower = bounded.map(([t, , i]) => `${x(t)} ${y(i[0])}`).reverse();
      if (bounded.length) draw("path", { class: "band", d: `M${[...upper, ...lower].join("L")}Z` }, group);
      // A threshold between two scores keeps what the upper one keeps: the curve is a staircase.
      draw("path", { class: "line", d: at.map(([t, v], i) => `${i ? `H${x(at[i - 1][0])}V${y(v)}H` : `M${x(0)} ${y(v)}H`}${x(t)}`).join("") }, group);
    }
    cut = draw("g", {}, svg);
    draw("line", { class: "cut", x1: 0, x2: 0, y1: TOP - 6, y2: HEIGHT - BOTTOM }, cut);
    draw("circle", { class: "knob", cx: 0, cy: TOP - 10, r: 7 }, cut);
    $(".plot").replaceChildren(svg);
  }

  function move(to) {
    threshold = Math.max(0, Math.min(1, Math.round(to * 100) / 100));
    cut.setAttribute("transform", `translate(${x(threshold)} 0)`);
    $(".plot").setAttribute("aria-valuenow", threshold);
    const i = curve.threshold.findIndex((t) => t >= threshold);
    const figure = (name, label) => {
      const value = i < 0 ? null : curve[name][i];
      const interval = i < 0 ? null : curve[`${name} interval`][i];
      const range = interval && interval[0] !== null ? ` ${two(interval[0])}–${two(interval[1])}` : "";
      return make("div", { class: name }, make("b", { textContent: two(value) }), make("span", { textContent: label + range }));
    };
    const kept = curve["kept of all"][Math.round(threshold * 100)];
    $(".figures").replaceChildren(
      make("div", {}, make("b", { textContent: threshold.toFixed(2).replace(/^0/, "") }), make("span", { textContent: say("threshold") })),
      figure("precision", say("precision")), figure("recall", say("recall")), figure("f1", "F1"),
      make("div", {}, make("b", { textContent: kept.toLocaleString("en") }), make("span", { textContent: say("kept of {n}", { n: curve.all.toLocaleString("en") }) })));
    list();
  }

  // The list follows by one call at a time; what was asked meanwhile comes after.
  async function list() {
    asked += 1;
    if (asked > 1) return;
    do {
      asked = 1;
      const rows = await ask("around", { run: critic.name, threshold });
      show(rows);
    } while (asked > 1);
    asked = 0;
  }

  function show(rows) {
    const edge = rows.findIndex((row) => !row.kept);
    $(".around").replaceChildren(...rows.map((row, i) => {
      const words = make("span", { class: "words" });
      write(words, row.question, new Set(row.regions.map((r) => r.number)));
      const said = row.votes ? say("{yes} of {all} accepted", { yes: row.votes[0], all: row.votes[1] }) : say("no votes");
      const item = make("button", { type: "button", class: i && i === edge ? "edge" : "", title: `${row.answer}\n${row.rationale}` },
        make("img", { src: `${row.image.url}?width=160`, alt: row.image.title, loading: "lazy" }),
        make("span", {}, words, make("small", { textContent: `${row.kept ? say("kept") : say("left out")} · ${said}` })),
        make("span", { class: `value ${row.kept ? "kept" : "out"}`, textContent: row.score.toFixed(3).replace(/^0/, "") }));
      item.addEventListener("click", () => open(item, row));
      for (const chip of item.querySelectorAll("button")) chip.replaceWith(Object.assign(document.createElement("b"), { className: "chip", textContent: chip.textContent, style: chip.style.cssText }));
      return item;
    }));
  }

  function open(item, row) {
    const there = item.nextElementSibling;
    if (there?.classList.contains("opened")) return there.remove();
    const box = make("div", { class: "opened" }), place = make("div");
    const known = new Set(row.regions.map((r) => r.number));
    box.append(place);
    item.after(box);
    const canvas = new LSKD.Canvas(place);
    const img = LSKD.picture(row.image, 640);
    canvas.show(row, img);
    for (const part of ["question", "answer", "rationale"]) {
      const words = make("p", { class: "words" });
      write(words, row[part], known, canvas);
      box.append(make("h2", { textContent: say(PARTS[part]) }), words);
    }
  }

  // ---- wiring
  const plotBox = $(".plot");
  const drag = (event) => {
    const { left, width } = plotBox.getBoundingClientRect();
    move((((event.clientX - left) / width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT));
  };
  plotBox.addEventListener("pointerdown", (event) => { plotBox.setPointerCapture(event.pointerId); drag(event); });
  plotBox.addEventListener("pointermove", (event) => { if (event.buttons & 1) drag(event); });
  plotBox.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -0.01, ArrowRight: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    move(threshold + by);
  });
  const dialog = $("dialog.release");
  root.addEventListener("click", (event) => {
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action === "train") train(event.target.closest("button"), critic.simulated);
    if (action === "close") dialog.close();
    if (action === "release") {
      const kept = curve["kept of all"][Math.round(threshold * 100)];
      dialog.querySelector(".what").textContent = say("{n} triples with a score of {t} or more, by {critic}.", { n: kept, t: threshold.toFixed(2), critic: critic.name });
      dialog.querySelector(".note").hidden = !critic.simulated;
      dialog.querySelector(".alarm").textContent = "";
      dialog.showModal();
    }
  });
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get("name").trim();
    try {
      await ask("release", { run: critic.name, threshold, name, simulated: critic.simulated });
      dialog.close();
      await load();
      $(".told").replaceChildren(`${say("Released as {name}.", { name })} `, make("a", { href: "/demo/", textContent: say("Train a student on it") }));
    } catch (error) {
      dialog.querySelector(".alarm").textContent = error.message;
    }
  });
  load().catch((error) => { $(".empty h1").textContent = say("The page cannot be shown"); $(".empty p").textContent = error.message; });
};
