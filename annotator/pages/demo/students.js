// Beside the asking: how students learned, and what benchmarks say. All text goes in as text.
"use strict";
LSKD.students = (ask, $) => {
  const { make, say, plots } = LSKD;
  const table = (head, rows) => make("table", {},
    make("thead", {}, make("tr", {}, ...head.map((words) => make("th", { scope: "col", textContent: words })))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))))));

  const item = (row) => make("figure", {}, ...(row.picture ? [make("img", { src: row.picture, alt: "" })] : []), make("figcaption", { textContent: row.key }));

  async function learning() {
    const runs = await ask("learning");
    $(".losses").replaceChildren(...(runs.length ? [plots.losses(runs)] : []));
    $(".legend").replaceChildren(...runs.map((run, n) => make("label", { class: `run run${n % 6}` },
      make("input", { type: "checkbox", checked: true, onchange: () => {
        const shown = [...$(".legend").querySelectorAll("input")].map((input) => input.checked);
        $(".losses").querySelectorAll("g.run").forEach((group, i) => { group.style.display = shown[i] ? "" : "none"; });
      } }), ` ${run.name}${run.status === "done" ? "" : ` (${say(run.status)})`}`)));
    const newest = runs.find((run) => run.examples.length);
    if (!newest) return $(".examples").replaceChildren(make("p", { class: "quiet", textContent: say("No student has learned here yet.") }));
    const looks = newest.examples, some = [...new Set([0, Math.floor((looks.length - 1) / 2), looks.length - 1])].map((i) => looks[i]);
    const rows = looks[0].of.map((example, n) => [example.question, example.people, ...some.map((look) => look.of[n].student)]);
    $(".examples").replaceChildren(
      make("p", { class: "quiet", textContent: say("What {student} said of held-out pictures as it learned:", { student: newest.name }) }),
      table([say("question"), say("people"), ...some.map((look) => say("step {n}", { n: look.step }))], rows));
  }

  async function measured(students) {
    const rows = await ask("table");
    const columns = Object.keys(rows[0] ?? {}).filter((name) => name !== "student" && !name.endsWith(" interval"));
    const cell = (row, name) => {
      const value = row[name], interval = row[`${name} interval`];
      if (value === null || value === undefined) return "–";
      return interval ? `${value.toFixed(1)} [${interval.map((bound) => bound?.toFixed(1) ?? "?").join(", ")}]` : value.toFixed(1);
    };
    $(".table").replaceChildren(table([say("student"), ...columns], rows.map((row) => [row.student, ...columns.map((name) => cell(row, name))])));
    const known = students.filter((student) => student.benchmarks.length);
    const choices = known.flatMap((student) => student.benchmarks.map((name) => [student.name, name]));
    const list = make("div", { class: "errors" });
    const choose = make("select", { ariaLabel: say("errors of") }, ...choices.map(([student, name], n) => make("option", { value: n, textContent: `${student} · ${name}` })));
    const show = async (first) => {
      const [student, benchmark] = choices[choose.value];
      const found = await ask("errors", { student, benchmark, first });
      list.replaceChildren(
        make("p", { class: "quiet", textContent: say("{wrong} of {items} items are not wholly right.", { wrong: found.wrong, items: found.items }) }),
        table([say("item"), say("asked"), say("said"), say("right")], found.rows.flatMap((row) => row.asked.map((one, n) => [n ? "" : item(row), one.question, one.said, one.right]))),
        make("button", { type: "button", disabled: first + found.rows.length >= found.wrong, textContent: say("More"), onclick: () => show(first + found.rows.length) }));
    };
    choose.addEventListener("change", () => show(0));
    $(".wrong").replaceChildren(...(choices.length
      ? [make("div", { class: "row" }, make("label", {}, `${say("What was got wrong:")} `, choose)), list]
      : [make("p", { class: "quiet", textContent: say("`lskd student evaluate` fills this table.") })]));
    if (choices.length) await show(0);
  }

  return { learning, measured };
};
