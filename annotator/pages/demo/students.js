// Beside the asking: how students learned, and what benchmarks say. All text goes in as text.
"use strict";
LSKD.students = (ask, $) => {
  const { make, say, plots } = LSKD;
  const table = (head, rows) => make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((words) => make("th", { scope: "col", textContent: words })))),
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
    if (!newest) return $(".examples").replaceChildren(make("p", { class: "quiet", textContent: say("No student has learned here yet.") }));
    const { evaluations } = newest, last = evaluations.length - 1;
    const shown = [...new Set([0, Math.floor(last / 2), last])].map((i) => evaluations[i]);
    const rows = evaluations[0].samples.map((sample, n) => [sample.question, sample.reference, ...shown.map((evaluation) => evaluation.samples[n].prediction)]);
    $(".examples").replaceChildren(
      make("p", { class: "quiet", textContent: say("What {student} said of held-out pictures as it learned:", { student: newest.name }) }),
      table([say("question"), say("people"), ...shown.map(({ step }) => say("step {n}", { n: step }))], rows));
  }

  async function measured(students) {
    const { columns, rows } = await ask("compare");
    const cell = (figure) => {
      if (!figure || figure.value === null) return "–";
      const value = figure.value.toFixed(1);
      return figure.low === null ? value : `${value} [${figure.low.toFixed(1)}, ${figure.high.toFixed(1)}]`;
    };
    $(".table").replaceChildren(table([say("student"), ...columns], rows.map((row) => [row.student, ...columns.map((name) => cell(row.figures[name]))])));
    const known = students.filter((student) => student.benchmarks.length);
    const choices = known.flatMap((student) => student.benchmarks.map((name) => [student.name, name]));
    const list = make("div", { class: "errors" });
    const choose = make("select", { ariaLabel: say("errors of") }, ...choices.map(([student, name], n) => make("option", { value: n, textContent: `${student} · ${name}` })));
    const show = async (start) => {
      const [student, benchmark] = choices[choose.value];
      const found = await ask("errors", { student, benchmark, start });
      list.replaceChildren(
        make("p", { class: "quiet", textContent: say("{wrong} of {items} items are not wholly right.", { wrong: found.wrong, items: found.items }) }),
        table([say("item"), say("asked"), say("said"), say("right")], found.rows.flatMap((row) => row.questions.map((one, n) => [n ? "" : item(row), one.question, one.prediction, one.target]))),
        make("button", { type: "button", disabled: start + found.rows.length >= found.wrong, textContent: say("More"), onclick: () => show(start + found.rows.length) }));
    };
    choose.addEventListener("change", () => show(0));
    $(".wrong").replaceChildren(...(choices.length
      ? [make("div", { class: "row" }, make("label", {}, `${say("What was got wrong:")} `, choose)), list]
      : [make("p", { class: "quiet", textContent: say("`lskd student evaluate` fills this table.") })]));
    if (choices.length) await show(0);
  }

  return { learning, measured };
};
