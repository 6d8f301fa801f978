// The demo page: choose a picture, point at regions, ask.
"use strict";
LSKD.pages.demo = async (root, server) => {
  const { Canvas, begin, chip, make, picture, say, write } = LSKD;
  const DRAWN = "drawn here", CANNOT = "I can't tell.";
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"), { pick, draw });
  const students = LSKD.students(ask, $);
  await begin(root);
  let student = null, seen = null, pointed = [], turns = [], busy = false;

  async function ask(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error && !("goes on" in answer)) throw new Error(answer.error);
    return answer;
  }

  async function load() {
    const all = await ask("overview");
    if (all.training["goes on"]) return watch();
    if (!all.students.length) return wait(all);
    $(".empty").hidden = true;
    $("main").hidden = false;
    $("[data-do=train]").hidden = !all.releases.length;
    $(".release").hidden = $(".kind").hidden = !all.releases.length;
    $(".release").replaceChildren(...all.releases.map((name) => make("option", { textContent: name })));
    $(".student").replaceChildren(...all.students.map((one) => make("option", { value: one.name, textContent: one.name })));
    const meet = () => {
      student = $(".student").value;
      const { description } = all.students.find((one) => one.name === student);
      $(".status").replaceChildren(make("span", {}, `${say("Student")} `, make("b", { textContent: student }), ` · ${description}`));
    };
    $(".student").onchange = meet;
    meet();
    students.learning().catch((error) => tell(error.message));
    students.measured(all.students).catch((error) => tell(error.message));
    if (!seen) {
      $(".strip").replaceChildren(...all.images.map((image) => make("button",
        { type: "button", ariaLabel: image.title, onclick: () => choose(image.id) },
        make("img", { src: `${image.url}?width=160`, alt: "", loading: "lazy" }))));
      all.images.forEach((image, i) => { $(".strip").children[i].dataset.image = image.id; });
      if (all.images.length) await choose(all.images[0].id);
    }
  }

  // ---- before there is a student
  function wait({ releases }) {
    const box = $(".empty");
    $("main").hidden = true;
    box.hidden = false;
    box.querySelector("h1").textContent = say("No student yet");
    box.querySelector("p").textContent = releases.length
      ? say("A small one can be trained here, on this machine, in about two minutes.")
      : say("A student learns from a release: train a critic, choose a threshold, and release what it keeps.");
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
      tell(error.message);
    }
  }

  async function watch() {
    const box = $(".empty");
    $("main").hidden = true;
    box.hidden = false;
    box.querySelector(".row")?.remove();
    box.querySelector("h1").textContent = say("The student is learning");
    const bar = make("progress", { class: "learning", max: 1, value: 0, ariaLabel: say("training") });
    box.append(make("div", { class: "row" }, bar));
    for (;;) {
      const told = await ask("progress"), running = told["goes on"], latest = told.latest;
      bar.value = latest ? latest.step / latest.steps : 0;
      box.querySelector("p").textContent = !running ? told.error
        : latest?.step ? say("Step {done} of {total}, loss {loss}.", { done: latest.step, total: latest.steps, loss: latest.loss.toFixed(3) })
        : say("First its base learns to see marks and to read.");
      if (!running) {
        if (told.error) return;
        return load();
      }
      await new Promise((next) => setTimeout(next, 500));
    }
  }

  // ---- the picture and what is pointed at
  async function choose(id) {
    try {
      show(await ask("image", { image: id }), { image: id });
    } catch (error) {
      tell(error.message);
    }
  }

  function show(item, source) {
    seen = { ...item, source };
    pointed = [];
    turns = [];
    for (const button of $(".strip").children) button.setAttribute("aria-pressed", String(Number(button.dataset.image) === source.image));
    $(".talk").replaceChildren();
    paint();
  }

  function paint() {
    const item = { ...seen, mentioned: pointed };
    canvas.show(item, picture(seen.image, $(".picture").clientWidth || innerWidth));
    about();
  }

  function pick(number) {
    pointed = pointed.includes(number) ? pointed.filter((n) => n !== number) : [...pointed, number];
    canvas.mentioned = new Set(pointed);
    canvas.light(number);
    about();
    $(".ask input").focus({ preventScroll: true });
  }

  function draw(box, polygons) {
    traced(false);
    const number = Math.max(-1, ...seen.regions.map((region) => region.number)) + 1;
    seen.regions = [...seen.regions, { number, box, polygons, label: DRAWN }];
    pointed = [...pointed, number];
    paint();
  }

  function about() {
    const place = $(".about");
    place.replaceChildren();
    for (const number of pointed) {
      const region = seen.regions.find((other) => other.number === number);
      place.append(chip(number, canvas), ` ${region.label === DRAWN ? say(DRAWN) : region.label} `);
    }
    if (seen.image.held_out) place.append(make("small", { textContent: `${say("A picture that students have not seen.")} ` }));
    place.append(make("small", { textContent: pointed.length ? say("· click more, or drag to draw one") : say("Click a region of the picture, or drag to draw one.") }));
    const input = $(".ask input");
    input.placeholder = pointed.length ? say("Ask about {regions}…", { regions: pointed.map((n) => `[${n}]`).join(" + ") }) : say("First point at something");
    for (const button of $(".ask").querySelectorAll("button")) button.disabled = !pointed.length;
  }

  const tell = (text) => { $(".told").textContent = text; };

  // What it writes, as it writes it: a JSON object a line.
  async function stream(body, heard) {
    const response = await fetch("/api/ask", { method: "POST", headers: { "content-type": "application/json", "x-lskd": "1" }, body: JSON.stringify({ ...body, stream: true }) });
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? response.statusText);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const told = JSON.parse(line);
        if (told.error) throw new Error(told.error);
        if (told.answer) return told.answer;
        heard(told.text);
      }
      if (done) throw new Error(say("The answer broke off."));
    }
  }

  async function answer(question) {
    if (busy) return;
    tell("");
    busy = true;
    const regions = seen.regions.filter((region) => pointed.includes(region.number)).map(({ number, box, polygons }) => ({ number, box, polygons }));
    const known = new Set(pointed);
    const words = (text, kind = "") => {
      const element = make("p", { class: `words ${kind}` });
      write(element, text, known, canvas);
      return element;
    };
    const asked = make("div", { class: "asked" }), said = make("div", {}, make("small", { textContent: say("thinking…") }));
    if (question) asked.append(words(question));
    else asked.append(make("small", { textContent: say("asks itself…") }));
    $(".talk").append(asked, said);
    said.scrollIntoView({ block: "nearest" });
    try {
      const found = await stream({ student, regions, question, turns, ...seen.source }, (text) => said.replaceChildren(words(text)));
      asked.replaceChildren(words(found.question));
      said.replaceChildren(words(found.answer || "…"));
      if (found.rationale) {
        const because = words(found.rationale, "because");
        because.prepend(make("b", { textContent: `${found.answer === CANNOT ? say("It would have said:") : say("Because")} ` }));
        said.append(because);
      }
      const sure = found.confidence === null ? "" : ` · ${say("{share} sure", { share: `${Math.round(100 * found.confidence)} %` })}`;
      said.append(make("small", { textContent: `${found.seconds.toFixed(1)} s${sure} · ${student}` }));
      turns = [...turns, [found.question, found.answer]].slice(-8);
    } catch (error) {
      said.replaceChildren(make("p", { class: "words alarm", textContent: error.message }));
    }
    busy = false;
    said.scrollIntoView({ block: "nearest" });
  }

  // Corner by corner, until the button is pressed again, Enter, or a double click.
  function traced(on) {
    const button = $("[data-do=trace]");
    if (on) canvas.trace();
    else if (canvas.corners) canvas.close();
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? say("Close the outline") : say("Draw an outline");
  }

  function upload(file) {
    const reader = new FileReader();
    reader.onload = async () => {
      try {
        const { width, height } = await ask("upload", { data: reader.result });
        const image = { width, height, data: reader.result, title: file.name, author: say("your upload, not stored"), licence: "" };
        show({ image, regions: [] }, { data: reader.result });
        tell("");
      } catch (error) {
        tell(error.message);
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
    if (action === "trace") traced(!canvas.corners);
    if (action === "clear") {
      seen.regions = seen.regions.filter((region) => region.label !== DRAWN);
      pointed = [];
      turns = [];
      $(".talk").replaceChildren();
      paint();
    }
  });
  $("input[type=file]").addEventListener("change", (event) => {
    if (event.target.files[0]) upload(event.target.files[0]);
    event.target.value = "";
  });
  load().catch((error) => { $(".empty h1").textContent = say("The page cannot be shown"); $(".empty p").textContent = error.message; });
};
