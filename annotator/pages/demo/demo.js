// The demo page: select a picture and regions, and ask a student about them.
"use strict";
LSKD.pages.demo = async (root, server) => {
  const { Canvas, begin, chip, make, picture, say, write } = LSKD;
  const DRAWN = "your region", CANNOT = "I can't tell.";
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"), { pick, draw });
  const students = LSKD.students(ask, $);
  await begin(root);
  let student = null, shown = null, selected = [], turns = [], busy = false;

  async function ask(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error && !("is_running" in answer)) throw new Error(answer.error);
    return answer;
  }

  async function load() {
    const overview = await ask("overview");
    if (overview.training.is_running) return watch();
    if (!overview.students.length) return showNoStudent(overview);
    $(".empty").hidden = true;
    $("main").hidden = false;
    $("[data-do=train]").hidden = !overview.releases.length;
    $(".release").hidden = $(".kind").hidden = !overview.releases.length;
    $(".release").replaceChildren(...overview.releases.map((name) => make("option", { textContent: name })));
    $(".student").replaceChildren(...overview.students.map(({ name }) => make("option", { value: name, textContent: name })));
    const selectStudent = () => {
      student = $(".student").value;
      const description = describe(overview.students.find(({ name }) => name === student));
      $(".status").replaceChildren(make("span", {}, `${say("Student")} `, make("b", { textContent: student }), ` · ${description}`));
    };
    $(".student").onchange = selectStudent;
    selectStudent();
    students.learning().catch((error) => showMessage(error.message));
    students.benchmarks(overview.students).catch((error) => showMessage(error.message));
    if (!shown) {
      $(".strip").replaceChildren(...overview.images.map((image) => make("button",
        { type: "button", ariaLabel: image.title, onclick: () => choose(image.id) },
        make("img", { src: `${image.url}?width=160`, alt: "", loading: "lazy" }))));
      overview.images.forEach((image, i) => { $(".strip").children[i].dataset.image = image.id; });
      if (overview.images.length) await choose(overview.images[0].id);
    }
  }

  // A student's model and training data, in one line.
  function describe({ kind, model, is_tiny, captioner, release, triples, simulated }) {
    if (captioner) return say("region captions by {captioner}, answered by {model}", { captioner, model });
    if (!release) return say("released checkpoint on {model}", { model });
    const values = { model, kind: say(kind), release, n: triples };
    const data = simulated ? say("{n} triples of {release} (simulated votes)", values) : say("{n} triples of {release}", values);
    if (is_tiny) return say("tiny, {kind} · trained from scratch on {data}: answers will mostly be wrong", { ...values, data });
    return say("{model}, {kind} · trained on {data}", { ...values, data });
  }

  // ---- before there is a student
  function showNoStudent({ releases }) {
    const box = $(".empty");
    $("main").hidden = true;
    box.hidden = false;
    box.querySelector("h1").textContent = say("No student yet");
    box.querySelector("p").textContent = releases.length
      ? say("You can train a small student on this machine in about two minutes.")
      : say("Students are trained on a release. First train a critic, choose a threshold and release the triples it keeps.");
    box.querySelector(".row")?.remove();
    box.append(make("div", { class: "row" }, releases.length
      ? make("button", { type: "button", class: "go", textContent: say("Train a small student on {release}", { release: releases[0] }), onclick: () => train(releases[0], "generative") })
      : make("a", { class: "button", href: "/critic/", textContent: say("Go to the critic") })));
    $(".status").textContent = "";
  }

  async function train(release, kind) {
    try {
      await ask("train", { release, kind });
      watch();
    } catch (error) {
      showMessage(error.message);
    }
  }

  async function watch() {
    const box = $(".empty");
    $("main").hidden = true;
    box.hidden = false;
    box.querySelector(".row")?.remove();
    box.querySelector("h1").textContent = say("Training the student…");
    const bar = make("progress", { class: "learning", max: 1, value: 0, ariaLabel: say("training") });
    box.append(make("div", { class: "row" }, bar));
    for (;;) {
      const told = await ask("progress"), running = told.is_running, latest = told.latest;
      bar.value = latest ? latest.step / latest.steps : 0;
      box.querySelector("p").textContent = !running ? told.error
        : latest?.step ? say("Step {done} of {total}, loss {loss}", { done: latest.step, total: latest.steps, loss: latest.loss.toFixed(3) })
        : say("Pretraining the base model…");
      if (!running) {
        if (told.error) return;
        return load();
      }
      await new Promise((next) => setTimeout(next, 500));
    }
  }

  // ---- the picture and the selected regions
  async function choose(id) {
    try {
      show(await ask("image", { image: id }), { image: id });
    } catch (error) {
      showMessage(error.message);
    }
  }

  function show(item, source) {
    shown = { ...item, source };
    selected = [];
    turns = [];
    for (const button of $(".strip").children) button.setAttribute("aria-pressed", String(Number(button.dataset.image) === source.image));
    $(".talk").replaceChildren();
    paint();
  }

  function paint() {
    const item = { ...shown, mentioned: selected };
    canvas.show(item, picture(shown.image, $(".picture").clientWidth || innerWidth));
    showSelection();
  }

  function pick(number) {
    selected = selected.includes(number) ? selected.filter((n) => n !== number) : [...selected, number];
    canvas.mentioned = new Set(selected);
    canvas.light(number);
    showSelection();
    $(".ask input").focus({ preventScroll: true });
  }

  function draw(box, polygons) {
    setTracing(false);
    const number = Math.max(-1, ...shown.regions.map((region) => region.number)) + 1;
    shown.regions = [...shown.regions, { number, box, polygons, label: DRAWN }];
    selected = [...selected, number];
    paint();
  }

  function showSelection() {
    const place = $(".about");
    place.replaceChildren();
    for (const number of selected) {
      const region = shown.regions.find((other) => other.number === number);
      place.append(chip(number, canvas), ` ${region.label === DRAWN ? say(DRAWN) : region.label} `);
    }
    if (shown.image.held_out) place.append(make("small", { textContent: `${say("Held-out picture: students were not trained on it.")} ` }));
    place.append(make("small", { textContent: selected.length ? say("· click another region, or drag to draw one") : say("Click a region in the picture, or drag to draw one.") }));
    const input = $(".ask input");
    input.placeholder = selected.length ? say("Ask about {regions}…", { regions: selected.map((n) => `[${n}]`).join(" + ") }) : say("Select a region first");
    for (const button of $(".ask").querySelectorAll("button")) button.disabled = !selected.length;
  }

  const showMessage = (text) => { $(".message").textContent = text; };

  // Streams an answer: one JSON object per line.
  async function stream(body, onText) {
    const response = await fetch("/api/ask", { method: "POST", headers: { "content-type": "application/json", "x-lskd": "1" }, body: JSON.stringify({ ...body, stream: true }) });
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? response.statusText);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const event = JSON.parse(line);
        if (event.error) throw new Error(event.error);
        if (event.answer) return event.answer;
        onText(event.text);
      }
      if (done) throw new Error(say("The connection was lost before the answer was complete."));
    }
  }

  async function answer(question) {
    if (busy) return;
    showMessage("");
    busy = true;
    const regions = shown.regions.filter((region) => selected.includes(region.number)).map(({ number, box, polygons }) => ({ number, box, polygons }));
    const known = new Set(selected);
    const words = (text, kind = "") => {
      const element = make("p", { class: `words ${kind}` });
      write(element, text, known, canvas);
      return element;
    };
    const asked = make("div", { class: "asked" }), reply = make("div", {}, make("small", { textContent: say("Thinking…") }));
    if (question) asked.append(words(question));
    else asked.append(make("small", { textContent: say("Thinking of a question…") }));
    $(".talk").append(asked, reply);
    reply.scrollIntoView({ block: "nearest" });
    try {
      const result = await stream({ student, regions, question, turns, ...shown.source }, (text) => reply.replaceChildren(words(text)));
      asked.replaceChildren(words(result.question));
      reply.replaceChildren(words(result.answer || "…"));
      if (result.rationale) {
        const rationale = words(result.rationale, "rationale");
        rationale.prepend(make("b", { textContent: `${result.answer === CANNOT ? say("Not confident enough. It would have answered:") : say("Rationale:")} ` }));
        reply.append(rationale);
      }
      const confidence = result.confidence === null ? "" : ` · ${say("{share} confident", { share: `${Math.round(100 * result.confidence)}%` })}`;
      reply.append(make("small", { textContent: `${result.seconds.toFixed(1)} s${confidence} · ${student}` }));
      turns = [...turns, [result.question, result.answer]].slice(-8);
    } catch (error) {
      reply.replaceChildren(make("p", { class: "words alarm", textContent: error.message }));
    }
    busy = false;
    reply.scrollIntoView({ block: "nearest" });
  }

  // Starts an outline, or finishes it: by the button or a double click.
  function setTracing(on) {
    const button = $("[data-do=trace]");
    if (on) canvas.trace();
    else if (canvas.corners) canvas.close();
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? say("Finish the outline") : say("Draw an outline");
  }

  function upload(file) {
    const reader = new FileReader();
    reader.onload = async () => {
      try {
        const { width, height } = await ask("upload", { data: reader.result });
        const image = { width, height, data: reader.result, title: file.name, author: say("your upload (not stored)"), licence: "" };
        show({ image, regions: [] }, { data: reader.result });
        showMessage("");
      } catch (error) {
        showMessage(error.message);
      }
    };
    reader.readAsDataURL(file);
  }

  // ---- wiring
  $(".ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = $(".ask input");
    if (!input.value.trim()) return;
    answer(input.value.trim());
    input.value = "";
  });
  root.addEventListener("click", (event) => {
    const action = event.target.closest("[data-do]")?.dataset.do;
    if (action === "self") answer("");
    if (action === "train") train($(".release").value, $(".kind").value);
    if (action === "trace") setTracing(!canvas.corners);
    if (action === "clear") {
      shown.regions = shown.regions.filter((region) => region.label !== DRAWN);
      selected = [];
      turns = [];
      $(".talk").replaceChildren();
      paint();
    }
  });
  $("input[type=file]").addEventListener("change", (event) => {
    if (event.target.files[0]) upload(event.target.files[0]);
    event.target.value = "";
  });
  load().catch((error) => { $(".empty h1").textContent = say("This page could not be loaded"); $(".empty p").textContent = error.message; });
};
