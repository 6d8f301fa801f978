// Panels of the demo page: training curves and benchmark results.
"use strict";
LSKD.students = (ask, $) => {
  const { make, say, plots } = LSKD;
  const table = (head, rows) => make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((textContent) => make("th", { scope: "col", textContent })))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))))));

  const item = (row) => make("figure", {}, ...(row.image_url ? [make("img", { src: row.image_url, alt: "" })] : []), make("figcaption", { textContent: row.key }));

  async function learning() {
    const runs = await ask("learning_curves");
    $(".losses").replaceChildren(...(runs.length ? [plots.losses(runs)] : []));
    $(".legend").replaceChildren(...runs.map((run, n) => make("label", { class: `run run${n % 6}` },
      make("input", { type: "checkbox", checked: true, onchange: () => {
        const shown = [...$(".legend").querySelectorAll("input")].map((input) => input.checked);
        $(".losses").querySelectorAll("g.run").forEach((group, i) => { group.style.display = shown[i] ? "" : "none"; });
      } }), ` ${run.name}${run.status === "done" ? "" : ` (${say(run.status)})`}`)));
    const newest = runs.find((run) => run.evaluations.length);
    if (!newest) return $(".examples").replaceChildren(make("p", { class: "quiet", textContent: say("No student has been trained yet.") }));
    const { evaluations } = newest, last = evaluations.length - 1;
    const shown = [...new Set([0, Math.floor(last / 2), last])].map((i) => evaluations[i]);
    const rows = evaluations[0].samples.map((sample, n) => [sample.question, sample.reference, ...shown.map((evaluation) => evaluation.samples[n].prediction)]);
    $(".examples").replaceChildren(
      make("p", { class: "quiet", textContent: say("Answers of {student} on held-out pictures during training:", { student: newest.name }) }),
      table([say("Question"), say("Reference"), ...shown.map(({ step }) => say("Step {n}", { n: step }))], rows));
  }

  async function benchmarks(students) {
    const { columns, rows } = await ask("compare");
    const cell = (figure) => {
      if (!figure || figure.value === null) return "–";
      const value = figure.value.toFixed(1);
      return figure.low === null ? value : `${value} [${figure.low.toFixed(1)}, ${figure.high.toFixed(1)}]`;
    };
    $(".table").replaceChildren(table([say("Student"), ...columns], rows.map((row) => [row.student, ...columns.map((name) => cell(row.figures[name]))])));
    const known = students.filter((student) => student.benchmarks.length);
    const choices = known.flatMap((student) => student.benchmarks.map((name) => [student.name, name]));
    const list = make("div", { class: "errors" });
    const choose = make("select", { ariaLabel: say("benchmark errors") }, ...choices.map(([student, name], n) => make("option", { value: n, textContent: `${student} · ${name}` })));
    const show = async (start) => {
      const [student, benchmark] = choices[choose.value];
      const page = await ask("errors", { student, benchmark, start });
      list.replaceChildren(
        make("p", { class: "quiet", textContent: say("{wrong} of {items} items have errors.", { wrong: page.wrong, items: page.items }) }),
        table([say("Item"), say("Question"), say("Answer"), say("Correct answer")], page.rows.flatMap((row) => row.questions.map((question, n) => [n ? "" : item(row), question.question, question.prediction, question.target]))),
        make("button", { type: "button", disabled: start + page.rows.length >= page.wrong, textContent: say("Show more"), onclick: () => show(start + page.rows.length) }));
    };
    choose.addEventListener("change", () => show(0));
    $(".wrong").replaceChildren(...(choices.length
      ? [make("div", { class: "row" }, make("label", {}, `${say("Errors:")} `, choose)), list]
      : [make("p", { class: "quiet", textContent: say("Run lskd student evaluate to fill this table.") })]));
    if (choices.length) await show(0);
  }

  return { learning, benchmarks };
};
