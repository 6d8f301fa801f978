// The critic page. The whole curve is in the browser, so that the threshold can be dragged.
"use strict";
LSKD.pages.critic = async (root, server) => {
  const { begin, make, say, write } = LSKD;
  const DEBOUNCE_MS = 250;
  const PARTS = { question: "Question", answer: "Answer", rationale: "Rationale" };
  const $ = (selector) => root.querySelector(selector);
  const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2).replace(/^0(?=\.)/, ""));
  const range = (estimate) => (estimate && estimate.low !== null ? `${two(estimate.low)}–${two(estimate.high)}` : "");
  await begin(root);
  let overview = null, critic = null, curve = null, plot = null, threshold = 0.5, calls = 0, timer = 0;

  // Calls a function of the server; throws its user errors.
  async function ask(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error && answer.is_running === undefined) throw new Error(answer.error);
    return answer;
  }

  const showMessage = (text) => { $(".message").textContent = text; };
  const page = { ask, two, range, showMessage, busy, load, move, current: () => ({ critic, threshold }) };
  const panels = LSKD.panels(root, page);

  async function load(name) {
    overview = await ask("overview");
    if (!overview.critics.length) return showNoCritic(overview);
    $(".empty").hidden = true;
    $("main").hidden = false;
    await choose(name ?? critic?.name ?? overview.critics[0].name);
  }

  async function choose(name) {
    critic = overview.critics.find((run) => run.name === name) ?? overview.critics[0];
    curve = await ask("curve", { run: critic.name });
    $(".runs").replaceChildren(...overview.critics.map((run) => make("option", { value: run.name, textContent: `${run.name} · ${run.kind}`, selected: run === critic })));
    $(".status").replaceChildren(
      make("span", {}, `${say("Run")} `, make("b", { textContent: critic.name }),
        ` · ${say("{n} labelled triples ({tested} on {images} test images)", { n: critic.labelled_triples, tested: critic.test_triples, images: critic.test_images })}`),
      ...(critic.simulated ? [make("span", { class: "alarm", textContent: say("trained on simulated votes") })] : []));
    const { value, low, high } = critic.average_precision;
    showMessage(say("Average precision {ap} [{low}, {high}] (base rate {acceptance})", { ap: two(value), low: two(low), high: two(high), acceptance: two(critic.acceptance_rate) }));
    plot = LSKD.plots.curve(curve.curve);
    $(".plot").replaceChildren(plot.svg);
    panels.show(overview, critic, curve);
    move(threshold);
  }

  // ---- before there is a critic
  function showNoCritic({ labels, can_simulate }) {
    const { people, simulated } = labels;
    const box = $(".empty");
    box.querySelector("h1").textContent = people.missing ? say("Not enough labels yet") : say("Ready to train");
    box.querySelector("p").textContent = people.missing
      ? say("Needed to train a critic: {missing}.", people)
      : say("{labelled} labelled triples on {images} images, {accepted} of them accepted.", people);
    const row = make("div", { class: "row" });
    if (people.missing) row.append(make("a", { class: "button", href: "/annotate/", textContent: say("Label triples") }));
    else row.append(make("button", { class: "go", type: "button", textContent: say("Train a critic"), onclick: (e) => panels.train(e.target, "baseline", false) }));
    if (people.missing && can_simulate && simulated.missing) {
      row.append(make("button", { type: "button", textContent: say("Let simulated annotators vote"), onclick: (e) => busy(e.target, say("Simulating votes…"), async () => { await ask("simulate"); await load(); }) }));
    }
    if (people.missing && !simulated.missing) {
      row.append(make("button", { type: "button", textContent: say("Train on simulated votes"), onclick: (e) => panels.train(e.target, "baseline", true) }));
    }
    box.querySelector(".row")?.remove();
    box.append(row);
    $(".status").textContent = say("No critic yet");
  }

  async function busy(button, words, work) {
    const before = button.textContent;
    button.disabled = true;
    button.textContent = words;
    try {
      await work();
    } catch (error) {
      showMessage(error.message);
      const text = $(".empty p");
      if (!$(".empty").hidden) text.textContent = error.message;
    }
    button.disabled = false;
    button.textContent = before;
  }

  // ---- the threshold
  function move(to) {
    threshold = Math.max(0, Math.min(1, Math.round(to * 100) / 100));
    plot.move(threshold);
    $(".plot").setAttribute("aria-valuenow", threshold);
    const table = curve.curve, i = table.threshold.findIndex((t) => t >= threshold);
    const figure = (name, label) => {
      const band = table[name];
      const estimate = i < 0 ? { value: null, low: null, high: null } : { value: band.value[i], low: band.low[i], high: band.high[i] };
      return make("div", { class: name }, make("b", { textContent: two(estimate.value) }), make("span", { textContent: `${label} ${range(estimate)}` }));
    };
    $(".figures").replaceChildren(
      make("div", {}, make("b", { textContent: threshold.toFixed(2).replace(/^0/, "") }), make("span", { textContent: say("threshold") })),
      figure("precision", say("precision")), figure("recall", say("recall")), figure("f1", "F1"),
      make("div", {}, make("b", { textContent: kept().toLocaleString("en") }), make("span", { textContent: say("kept of {n}", { n: curve.scored_triples.toLocaleString("en") }) })));
    list().catch((error) => showMessage(error.message));
    // Slower updates wait until the threshold stays in place.
    clearTimeout(timer);
    timer = setTimeout(() => panels.follow().catch((error) => showMessage(error.message)), DEBOUNCE_MS);
  }

  const kept = () => curve.kept[Math.round(threshold * 100)];

  // One call at a time; requests made meanwhile are answered by one more call.
  async function list() {
    calls += 1;
    if (calls > 1) return;
    do {
      calls = 1;
      show(await ask("triples", { run: critic.name, threshold }));
    } while (calls > 1);
    calls = 0;
  }

  function show(rows) {
    const edge = rows.findIndex((row) => !row.is_kept);
    $(".around").replaceChildren(...rows.map((row, i) => {
      const words = make("span", { class: "words" });
      write(words, row.question, new Set(row.regions.map((r) => r.number)));
      const votes = row.votes ? say("{yes} of {all} votes accept", { yes: row.accepts, all: row.votes }) : say("no votes");
      const item = make("button", { type: "button", class: i && i === edge ? "edge" : "", title: `${row.answer}\n${row.rationale}` },
        make("img", { src: `${row.image.url}?width=160`, alt: row.image.title, loading: "lazy" }),
        make("span", {}, words, make("small", { textContent: `${row.is_kept ? say("kept") : say("not kept")} · ${votes}` })),
        make("span", { class: `value ${row.is_kept ? "kept" : "out"}`, textContent: row.score.toFixed(3).replace(/^0/, "") }));
      item.addEventListener("click", () => open(item, row));
      for (const chip of item.querySelectorAll("button")) chip.replaceWith(Object.assign(document.createElement("b"), { className: "chip", textContent: chip.textContent, style: chip.style.cssText }));
      return item;
    }));
  }

  function open(item, row) {
    const next = item.nextElementSibling;
    if (next?.classList.contains("opened")) return next.remove();
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
  const box = $(".plot");
  const drag = (event) => {
    const { left, width } = box.getBoundingClientRect();
    move(plot.threshold((event.clientX - left) / width));
  };
  box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); drag(event); });
  box.addEventListener("pointermove", (event) => { if (event.buttons & 1) drag(event); });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -0.01, ArrowRight: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    move(threshold + by);
  });
  $(".runs").addEventListener("change", (event) => choose(event.target.value).catch((error) => showMessage(error.message)));
  root.addEventListener("click", (event) => {
    if (event.target.closest("[data-do='release']")) panels.release(say("{n} triples scored {t} or higher by {critic}.", { n: kept(), t: threshold.toFixed(2), critic: critic.name }));
  });
  load().catch((error) => { $(".empty h1").textContent = say("This page could not be loaded"); $(".empty p").textContent = error.message; });
};
