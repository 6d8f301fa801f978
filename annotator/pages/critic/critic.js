// The researcher's page: the curve is in the browser, so that the threshold follows the hand.
"use strict";
LSKD.pages.critic = async (root, server) => {
  const { begin, make, say, write } = LSKD;
  const RESTED = 250;
  const PARTS = { question: "Question", answer: "Answer", rationale: "Rationale" };
  const $ = (selector) => root.querySelector(selector);
  const two = (value) => (value === null || value === undefined ? "–" : value.toFixed(2).replace(/^0(?=\.)/, ""));
  const range = (estimate) => (estimate && estimate.low !== null ? `${two(estimate.low)}–${two(estimate.high)}` : "");
  await begin(root);
  let seen = null, critic = null, curve = null, plot = null, threshold = 0.5, asked = 0, resting = 0;

  // A function of the server, whose mistakes are sentences.
  async function ask(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error && answer.is_running === undefined) throw new Error(answer.error);
    return answer;
  }

  const tell = (text) => { $(".told").textContent = text; };
  const page = { ask, two, range, tell, busy, load, move, current: () => ({ critic, threshold, seen }) };
  const panels = LSKD.panels(root, page);

  async function load(name) {
    seen = await ask("overview");
    if (!seen.critics.length) return wait(seen);
    $(".empty").hidden = true;
    $("main").hidden = false;
    await choose(name ?? critic?.name ?? seen.critics[0].name);
  }

  async function choose(name) {
    critic = seen.critics.find((one) => one.name === name) ?? seen.critics[0];
    curve = await ask("curve", { run: critic.name });
    $(".runs").replaceChildren(...seen.critics.map((one) => make("option", { value: one.name, textContent: `${one.name} · ${one.kind}`, selected: one === critic })));
    $(".status").replaceChildren(
      make("span", {}, `${say("Run")} `, make("b", { textContent: critic.name }),
        ` · ${say("{n} labelled triples, {tested} of them on {images} test images", { n: critic.labelled_triples, tested: critic.test_triples, images: critic.test_images })}`),
      ...(critic.simulated ? [make("span", { class: "alarm", textContent: say("simulated votes") })] : []));
    const { value, low, high } = critic.average_precision;
    tell(say("Average precision {ap} [{low}, {high}] where {acceptance} are acceptable.", { ap: two(value), low: two(low), high: two(high), acceptance: two(critic.acceptance_rate) }));
    plot = LSKD.plots.curve(curve.curve);
    $(".plot").replaceChildren(plot.svg);
    panels.show(seen, critic, curve);
    move(threshold);
  }

  // ---- before there is a critic
  function wait({ labels, can_simulate }) {
    const { people, simulated } = labels;
    const box = $(".empty");
    box.querySelector("h1").textContent = people.missing ? say("Not enough votes yet") : say("Ready to train");
    box.querySelector("p").textContent = people.missing
      ? say("{labelled} triples have labels. A critic needs {missing}.", people)
      : say("{labelled} triples have labels, {accepted} of them accepted, on {images} images.", people);
    const row = make("div", { class: "row" });
    if (people.missing) row.append(make("a", { class: "button", href: "/annotate/", textContent: say("Label more") }));
    else row.append(make("button", { class: "go", type: "button", textContent: say("Train the critic"), onclick: (e) => panels.train(e.target, "baseline", false) }));
    if (people.missing && can_simulate && simulated.missing) {
      row.append(make("button", { type: "button", textContent: say("Let simulated annotators vote"), onclick: (e) => busy(e.target, say("Voting…"), async () => { await ask("simulate"); await load(); }) }));
    }
    if (people.missing && !simulated.missing) {
      row.append(make("button", { type: "button", textContent: say("Train on simulated votes"), onclick: (e) => panels.train(e.target, "baseline", true) }));
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
    list().catch((error) => tell(error.message));
    // What takes longer waits until the hand rests.
    clearTimeout(resting);
    resting = setTimeout(() => panels.follow().catch((error) => tell(error.message)), RESTED);
  }

  const kept = () => curve.kept[Math.round(threshold * 100)];

  // What follows the threshold does so by one call at a time; what was asked meanwhile comes after.
  async function list() {
    asked += 1;
    if (asked > 1) return;
    do {
      asked = 1;
      show(await ask("triples", { run: critic.name, threshold }));
    } while (asked > 1);
    asked = 0;
  }

  function show(rows) {
    const edge = rows.findIndex((row) => !row.is_kept);
    $(".around").replaceChildren(...rows.map((row, i) => {
      const words = make("span", { class: "words" });
      write(words, row.question, new Set(row.regions.map((r) => r.number)));
      const said = row.votes ? say("{yes} of {all} accepted", { yes: row.accepts, all: row.votes }) : say("no votes");
      const item = make("button", { type: "button", class: i && i === edge ? "edge" : "", title: `${row.answer}\n${row.rationale}` },
        make("img", { src: `${row.image.url}?width=160`, alt: row.image.title, loading: "lazy" }),
        make("span", {}, words, make("small", { textContent: `${row.is_kept ? say("kept") : say("left out")} · ${said}` })),
        make("span", { class: `value ${row.is_kept ? "kept" : "out"}`, textContent: row.score.toFixed(3).replace(/^0/, "") }));
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
  $(".runs").addEventListener("change", (event) => choose(event.target.value).catch((error) => tell(error.message)));
  root.addEventListener("click", (event) => {
    if (event.target.closest("[data-do='release']")) panels.release(say("{n} triples with a score of {t} or more, by {critic}.", { n: kept(), t: threshold.toFixed(2), critic: critic.name }));
  });
  load().catch((error) => { $(".empty h1").textContent = say("The page cannot be shown"); $(".empty p").textContent = error.message; });
};
