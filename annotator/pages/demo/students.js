// @ts-check
/** Panels of the demo page: training curves and benchmark results. */

import { make } from "../shared/dom.js";
import { say } from "../shared/language.js";
import { losses } from "../shared/plots.js";
import { fillTable } from "../shared/tables.js";

/** @import { Find } from "../shared/dom.js" */
/** @import { Results } from "./demo.js" */
/** @import { ErrorItem, Estimate, LearningCurve, StudentItem } from "./payloads.d.ts" */
/** @typedef {<K extends keyof Results>(name: K, body?: object) => Promise<Results[K]>} Ask */

const RUN_STYLES = 6;

/**
 * @param {Find} find
 * @param {Ask} ask
 */
export function addStudents(find, ask) {
  async function showCurves() {
    const runs = await ask("learning_curves");
    const plot = find(".losses");
    plot.replaceChildren(...(runs.length ? [losses(runs)] : []));
    find(".legend").replaceChildren(...runs.map((run, n) => {
      const group = plot.querySelectorAll("g.run")[n];
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => { if (group instanceof SVGElement) group.style.display = box.checked ? "" : "none"; });
      return make("label", { className: `run run${n % RUN_STYLES}` }, box, ` ${run.name}${run.status === "done" ? "" : ` (${say(run.status)})`}`);
    }));
    const newest = runs.find((run) => run.evaluations.length);
    if (newest) showSamples(newest);
    else find(".examples").replaceChildren(quiet(say("No student has been trained yet.")));
  }

  /**
   * Answers at the first, the middle and the last evaluation.
   * @param {LearningCurve} run
   */
  function showSamples({ name, evaluations }) {
    const last = evaluations.length - 1;
    const chosen = [...new Set([0, Math.floor(last / 2), last])].flatMap((i) => evaluations[i] ?? []);
    const table = make("table");
    const titles = [say("Question"), say("Reference"), ...chosen.map(({ step }) => say("Step {n}", { n: step }))];
    fillTable(table, titles, chosen[0]?.samples.map(({ question, reference }, n) =>
      [question, reference, ...chosen.map(({ samples }) => samples[n]?.prediction)]) ?? []);
    find(".examples").replaceChildren(quiet(say("Answers of {student} on held-out pictures during training:", { student: name })), table);
  }

  /** @param {StudentItem[]} students */
  async function showBenchmarks(students) {
    const { columns, rows } = await ask("compare");
    const table = make("table");
    fillTable(table, [say("Student"), ...columns], rows.map(({ student, figures }) => [student, ...columns.map((name) => figureText(figures[name]))]));
    find(".table").replaceChildren(table);
    const choices = students.flatMap(({ name, benchmarks }) => benchmarks.map((benchmark) => ({ student: name, benchmark })));
    if (!choices.length) return find(".wrong").replaceChildren(quiet(say("Run lskd student evaluate to fill this table.")));
    const list = make("div", { className: "errors" });
    const select = make("select", { ariaLabel: say("benchmark errors") },
      ...choices.map(({ student, benchmark }, n) => make("option", { value: String(n), textContent: `${student} · ${benchmark}` })));
    const show = async (/** @type {number} */ start) => {
      const page = await ask("errors", { ...choices[Number(select.value)], start });
      const errors = make("table");
      const head = ["Item", "Question", "Answer", "Correct answer"];
      fillTable(errors, head, page.rows.flatMap(errorRows));
      const next = start + page.rows.length;
      list.replaceChildren(
        quiet(say("{wrong} of {items} items have errors.", page)), errors,
        make("button", { type: "button", disabled: next >= page.wrong, textContent: say("Show more"), onclick: () => show(next) }));
    };
    select.addEventListener("change", () => show(0));
    find(".wrong").replaceChildren(make("div", { className: "row" }, make("label", {}, `${say("Errors:")} `, select)), list);
    await show(0);
  }

  return { showCurves, showBenchmarks };
}

/**
 * A wrong item: its image in the first row, and a row for each of its questions.
 * @param {ErrorItem} item
 */
function errorRows({ key, image_url: url, questions }) {
  const image = url ? [make("img", { src: url, alt: "" })] : [];
  const figure = make("figure", {}, ...image, make("figcaption", { textContent: key }));
  return questions.map(({ question, prediction, target }, n) => [n ? "" : figure, question, prediction, target]);
}

/** @param {Estimate | undefined} figure */
function figureText(figure) {
  if (!figure || figure.value === null) return "–";
  const value = figure.value.toFixed(1);
  return figure.low === null || figure.high === null ? value : `${value} [${figure.low.toFixed(1)}, ${figure.high.toFixed(1)}]`;
}

/** @param {string} text */
const quiet = (text) => make("p", { className: "quiet", textContent: text });
