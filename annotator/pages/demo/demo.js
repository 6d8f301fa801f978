// @ts-check
/** The demo page: select a picture and regions, and ask a student about them. */

import { Canvas } from "../../canvas/canvas.js";
import { chip } from "../../canvas/chips.js";
import { caller } from "../shared/api.js";
import { finder, make, messageOf, onAction, onSubmit } from "../shared/dom.js";
import { say } from "../shared/language.js";
import { picture } from "../shared/picture.js";
import { begin } from "../shared/session.js";
import { ROOT, imageUrl } from "../shared/urls.js";
import { addConversation } from "./conversation.js";
import { addStudents } from "./students.js";

/** @import { Box, Point, Region } from "../../canvas/geometry.js" */
/** @import { Server } from "../shared/api.js" */
/** @import { AnnotatedImage, ErrorPage, LearningCurve, Overview, StudentComparison, StudentItem, TrainingProgress, TrainingState } from "./payloads.d.ts" */
/**
 * @typedef {{
 *   overview: Overview & {training: TrainingState},
 *   image: AnnotatedImage,
 *   upload: {width: number, height: number},
 *   train: TrainingState,
 *   progress: TrainingState & {latest: TrainingProgress | null},
 *   learning_curves: LearningCurve[],
 *   compare: StudentComparison,
 *   errors: ErrorPage,
 * }} Results The results of the server functions of page.py.
 * @typedef {Region & {label: string}} LabelledRegion
 * @typedef {{width: number, height: number, title: string, author: string, licence: string,
 *   url?: string, data?: string, held_out?: boolean}} ShownImage
 * @typedef {{image: number} | {data: string}} Source An image of the store by id, or an upload.
 * @typedef {{image: ShownImage, regions: LabelledRegion[], source: Source}} Shown
 */

const DRAWN = "your region";
const POLL_MS = 500;

/**
 * @param {HTMLElement} root
 * @param {Server} server
 */
export async function open(root, server) {
  const $ = finder(root);
  const canvas = new Canvas($(".picture"), { pick, draw });
  const ask = /** @type {typeof caller<Results>} */ (caller)(server);
  const isResearcher = (await begin(root)).role !== "annotator";
  const students = addStudents($, ask);
  const student = $(".student", HTMLSelectElement);
  const questionInput = $(".ask input", HTMLInputElement);
  /** @type {Shown | null} */
  let shown = null;
  /** @type {number[]} */
  let selected = [];
  const conversation = addConversation($, canvas, () => ({
    student: student.value, source: shown?.source, regions: shown?.regions.filter(({ number }) => selected.includes(number)) ?? [],
  }));

  /** @param {string} text */
  const showMessage = (text) => { $(".message").textContent = text; };
  /** @param {unknown} error */
  const showError = (error) => showMessage(messageOf(error));

  /** @returns {Promise<void>} */
  async function load() {
    const overview = await ask("overview");
    if (overview.training.is_running) return watch();
    if (!overview.students.length) return showNoStudent(overview.releases);
    $(".empty").hidden = true;
    $("main").hidden = false;
    for (const name of ["[data-do=train]", ".release", ".kind"]) $(name).hidden = !overview.releases.length;
    $(".release").replaceChildren(...overview.releases.map((name) => make("option", { textContent: name })));
    student.replaceChildren(...overview.students.map(({ name }) => make("option", { value: name, textContent: name })));
    student.onchange = () => showStudent(overview.students);
    showStudent(overview.students);
    for (const name of [".learning", ".measured"]) $(name).hidden = !isResearcher;
    if (isResearcher) {
      students.showCurves().catch(showError);
      students.showBenchmarks(overview.students).catch(showError);
    }
    const first = overview.images[0];
    if (shown || !first) return;
    $(".strip").replaceChildren(...overview.images.map((image) => {
      const button = make("button", { type: "button", ariaLabel: image.title, onclick: () => choose(image.id) },
        make("img", { src: imageUrl(image, 160), alt: "", loading: "lazy" }));
      button.dataset.image = String(image.id);
      return button;
    }));
    await choose(first.id);
  }

  /** @param {StudentItem[]} items */
  function showStudent(items) {
    const item = items.find(({ name }) => name === student.value);
    if (!item) return;
    $(".status").replaceChildren(make("span", {}, `${say("Student")} `, make("b", { textContent: item.name }), ` · ${describe(item)}`));
  }

  // ---- before there is a student
  /** @param {string[]} releases */
  function showNoStudent(releases) {
    const newest = releases[0];
    if (!isResearcher) {
      showEmpty(say("No student yet"), say("A researcher trains students on this page."));
      return;
    }
    showEmpty(say("No student yet"), newest
      ? say("You can train a small student on this machine in about a minute.")
      : say("Students are trained on a release. First train a critic, choose a threshold and release the triples it keeps."));
    $(".empty").append(make("div", { className: "row" }, newest
      ? make("button", { type: "button", className: "go", textContent: say("Train a small student on {release}", { release: newest }), onclick: () => train(newest, "generative") })
      : make("a", { className: "button", href: `${ROOT}/critic/`, textContent: say("Go to the critic") })));
    $(".status").textContent = "";
  }

  /**
   * @param {string} title
   * @param {string} text
   */
  function showEmpty(title, text) {
    $("main").hidden = true;
    $(".empty").hidden = false;
    $(".empty h1").textContent = title;
    $(".empty p").textContent = text;
    root.querySelector(".empty .row")?.remove();
  }

  /**
   * @param {string} release
   * @param {string} kind
   */
  async function train(release, kind) {
    try {
      await ask("train", { release, kind });
      await watch();
    } catch (error) {
      showError(error);
    }
  }

  /**
   * Show the progress of a training until it ends.
   * @returns {Promise<void>}
   */
  async function watch() {
    showEmpty(say("Training the student…"), "");
    const bar = make("progress", { className: "learning", max: 1, value: 0, ariaLabel: say("training") });
    $(".empty").append(make("div", { className: "row" }, bar));
    for (;;) {
      const { is_running: isRunning, error, latest } = await ask("progress");
      bar.value = latest ? latest.step / latest.steps : 0;
      if (!isRunning && !error) return load();
      $(".empty p").textContent = isRunning ? progressText(latest) : error;
      if (!isRunning) return;
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  }

  // ---- the picture and the selected regions
  /** @param {number} id */
  async function choose(id) {
    try {
      show({ ...(await ask("image", { image: id })), source: { image: id } });
    } catch (error) {
      showError(error);
    }
  }

  /** @param {Shown} item */
  function show(item) {
    shown = item;
    selected = [];
    const id = "image" in item.source ? String(item.source.image) : "";
    for (const button of root.querySelectorAll(".strip button")) {
      button.ariaPressed = String(button.getAttribute("data-image") === id);
    }
    conversation.clear();
    paint();
  }

  function paint() {
    if (!shown) return;
    canvas.show({ ...shown, mentioned: selected }, picture(shown.image, $(".picture").clientWidth || innerWidth));
    showSelection();
  }

  /** @param {number} number */
  function pick(number) {
    selected = selected.includes(number) ? selected.filter((n) => n !== number) : [...selected, number];
    canvas.mentioned = new Set(selected);
    canvas.light(number);
    showSelection();
    questionInput.focus({ preventScroll: true });
  }

  /**
   * @param {Box} box
   * @param {Point[][]} polygons
   */
  function draw(box, polygons) {
    setTracing(false);
    if (!shown) return;
    const number = Math.max(-1, ...shown.regions.map((region) => region.number)) + 1;
    shown.regions = [...shown.regions, { number, box, polygons, label: DRAWN }];
    selected = [...selected, number];
    paint();
  }

  function showSelection() {
    if (!shown) return;
    const { regions, image } = shown;
    const hint = selected.length ? say("· click another region, or drag to draw one") : say("Click a region in the picture, or drag to draw one.");
    $(".about").replaceChildren(
      ...selected.flatMap((number) => {
        const label = regions.find((region) => region.number === number)?.label ?? "";
        return [chip(number, canvas), ` ${label === DRAWN ? say(DRAWN) : label} `];
      }),
      ...(image.held_out ? [make("small", { textContent: `${say("Held-out picture: students were not trained on it.")} ` })] : []),
      make("small", { textContent: hint }));
    questionInput.placeholder = selected.length
      ? say("Ask about {regions}…", { regions: selected.map((n) => `[${n}]`).join(" + ") })
      : say("Select a region first");
    for (const button of $(".ask", HTMLFormElement).querySelectorAll("button")) button.disabled = !selected.length;
  }

  /**
   * Start an outline, or finish it: by the button or a double click.
   * @param {boolean} on
   */
  function setTracing(on) {
    const button = $("[data-do=trace]");
    if (on) canvas.trace();
    else if (canvas.corners) canvas.close();
    button.ariaPressed = String(on);
    button.textContent = on ? say("Finish the outline") : say("Draw an outline");
  }

  /** @param {File} file */
  async function upload(file) {
    try {
      const data = await readDataUrl(file);
      const size = await ask("upload", { data });
      const image = { ...size, data, title: file.name, author: say("your upload (not stored)"), licence: "" };
      show({ image, regions: [], source: { data } });
      showMessage("");
    } catch (error) {
      showError(error);
    }
  }

  /** @param {string} question */
  function send(question) {
    showMessage("");
    conversation.ask(question);
  }

  // ---- wiring
  onSubmit($("form.ask", HTMLFormElement), () => {
    const question = questionInput.value.trim();
    if (!question) return;
    send(question);
    questionInput.value = "";
  });
  /** @type {Record<string, () => void>} */
  const actions = {
    self: () => send(""),
    train: () => train($(".release", HTMLSelectElement).value, $(".kind", HTMLSelectElement).value),
    trace: () => setTracing(!canvas.corners),
    clear: () => {
      if (!shown) return;
      shown.regions = shown.regions.filter((region) => region.label !== DRAWN);
      selected = [];
      conversation.clear();
      paint();
    },
  };
  onAction(root, (action) => actions[action]?.());
  const file = $("input[type=file]", HTMLInputElement);
  file.addEventListener("change", () => {
    const chosen = file.files?.[0];
    if (chosen) upload(chosen);
    file.value = "";
  });
  load().catch((error) => {
    $(".empty h1").textContent = say("This page could not be loaded");
    $(".empty p").textContent = messageOf(error);
  });
}

/**
 * A student's model and training data, in one line.
 * @param {StudentItem} item
 */
function describe({ kind, model, is_tiny: isTiny, captioner, release, triples, simulated }) {
  if (captioner) return say("region captions by {captioner}, answered by {model}", { captioner, model });
  if (!release) return say("released checkpoint on {model}", { model });
  const values = { model, kind: say(kind), release, n: triples };
  const data = simulated ? say("{n} triples of {release} (simulated votes)", values) : say("{n} triples of {release}", values);
  if (isTiny) return say("tiny, {kind} · trained from scratch on {data}: answers will mostly be wrong", { ...values, data });
  return say("{model}, {kind} · trained on {data}", { ...values, data });
}

/** @param {TrainingProgress | null} latest */
function progressText(latest) {
  if (!latest?.step) return say("Pretraining the base model…");
  return say("Step {done} of {total}, loss {loss}", { done: latest.step, total: latest.steps, loss: latest.loss?.toFixed(3) ?? "–" });
}

/**
 * @param {File} file
 * @returns {Promise<string>}
 */
function readDataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
