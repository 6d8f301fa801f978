// The page of generation: a picture in words, the prompt that they become, and what comes of it.
"use strict";
LSKD.pages.generate = async (root, server) => {
  const { Canvas, begin, make, picture, say, write } = LSKD;
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"));
  const MADE = { no_json: "not JSON", cut_off: "cut off", fields: "fields missing", leak: "speaks of its source", repeat: "said before" };
  let seen = null, timer = null;

  await begin(root);

  async function ask(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error && !("goes on" in answer)) throw new Error(answer.error);
    return answer;
  }
  const tell = (text) => { $(".told").textContent = text; };
  const value = (name) => $(`[name=${name}]`).value;
  const wishes = (...names) => Object.fromEntries(names.map((name) => [name, ["task", "model"].includes(name) ? value(name) : Number(value(name))]));

  async function load() {
    const found = await ask("overview");
    $("main").hidden = !found.images;
    $(".empty").hidden = Boolean(found.images);
    const select = $("[name=task]");
    if (!select.options.length) select.append(...found.tasks.map((textContent) => make("option", { value: textContent, textContent: say(textContent) })));
    $(".status").replaceChildren(
      make("span", {}, `${say("Server")} `, make("b", { textContent: found.server })),
      make("span", {}, `${say("spent so far")} `, make("b", { textContent: found.spent })));
    runs(found.runs);
    rejected(found.rejected);
    writing(found.writer);
    if (found.images && !seen) await show(0);
  }

  function runs(list) {
    $("[aria-label=runs]").hidden = !list.length;
    const head = ["run", "what", "model", "prompt", "state", "replies", "failed", "kept", "kept out", "cost"];
    const cells = (run) => [run.name, run.task, run.model, run.prompt, say(run.stopped || run.status), run.replies, run.failed, run.kept, run.rejected, run.cost];
    const cell = (tag) => (textContent, i) => make(tag, { textContent: tag === "th" ? say(textContent) : textContent, class: i > 4 ? "number" : "" });
    $(".runs").replaceChildren(make("tr", {}, ...head.map(cell("th"))), ...list.map((run) => make("tr", {}, ...cells(run).map(cell("td")))));
  }

  function rejected(list) {
    $("[aria-label='kept out']").hidden = !list.length;
    const open = new Set([...root.querySelectorAll(".rejected details[open]")].map((e) => e.dataset.reason));
    $(".rejected").replaceChildren(...list.map(({ reason, count, examples }) => {
      const details = make("details", { open: open.has(reason) },
        make("summary", {}, make("b", { textContent: count }), ` ${say(MADE[reason] ?? reason)}`),
        ...examples.map(({ detail, text }) => make("p", { textContent: text.slice(0, 600) }, make("small", { textContent: detail }))));
      details.dataset.reason = reason;
      return details;
    }));
  }

  function writing(state) {
    $("[data-do=start]").hidden = state["goes on"];
    $("[data-do=pause]").hidden = !state["goes on"];
    $("[data-do=pause]").disabled = state.pausing;
    const bar = $("progress");
    bar.hidden = !state["goes on"];
    if (state.total) Object.assign(bar, { max: state.total, value: state.done });
    if (state.error) tell(state.error);
    else if (state.pausing) tell(say("Waiting for the calls in flight…"));
    clearTimeout(timer);
    if (state["goes on"]) timer = setTimeout(() => load().catch((error) => tell(error.message)), 1500);
  }

  async function show(after) {
    seen = await ask("picture", { task: value("task"), after });
    canvas.show(seen, picture(seen.image, $(".picture").clientWidth || innerWidth));
    $(".texts").replaceChildren(...seen.texts.map(({ region, kind, text, answer, model }) => make("li", {},
      region === null ? make("small", { textContent: say(kind) }) : make("span", {}, LSKD.chip(region, canvas)),
      make("span", { textContent: answer ? `${text} — ${answer}` : text }),
      make("small", { textContent: model }))));
    if (!seen.texts.length) $(".texts").replaceChildren(make("li", { textContent: say("Nothing yet: give lskd verbalize, or import captions.") }));
    $(".messages").replaceChildren(...(seen.lacks
      ? [make("p", { textContent: say("This picture has {what}: it is left out.", { what: say(seen.lacks) }) })]
      : seen.messages.flatMap(({ role, content }) => [make("h3", { textContent: role }), make("pre", { textContent: content })])));
    $(".made").hidden = true;
  }

  function made({ kept, rejected: out }) {
    const known = new Set(seen.regions.map((region) => region.number));
    $(".made").hidden = false;
    $(".made").replaceChildren(
      ...kept.map((texts) => make("article", {}, ...texts.map(([, text]) => { const p = make("p", { class: "words" }); write(p, text, known, canvas); return p; }))),
      ...out.map(({ reason, detail, text }) => make("p", { class: "out", textContent: `${say(MADE[reason] ?? reason)}: ${detail} — ${text.slice(0, 300)}` })));
    tell(say("{kept} kept, {out} not", { kept: kept.length, out: out.length }));
  }

  const plain = (told) => Object.entries(told).map(([name, what]) => `${what} ${say(name)}`).join(" · ");

  const DO = {
    next: () => show(seen.image.id),
    try: async () => { made(await ask("try_out", { ...wishes("task", "model", "budget"), image: seen.image.id })); await load(); },
    cost: async () => tell(plain(await ask("cost", wishes("task", "model", "samples", "budget")))),
    start: async () => { tell(""); writing(await ask("start", wishes("task", "model", "samples", "budget"))); },
    pause: async () => writing(await ask("pause")),
  };
  for (const button of root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", async () => {
      button.disabled = true;
      try { await DO[button.dataset.do](); } catch (error) { tell(error.message); }
      if (button.dataset.do !== "pause") button.disabled = false;
    });
  }
  $("[name=task]").addEventListener("change", () => show(seen.image.id - 1).catch((error) => tell(error.message)));
  load().catch((error) => tell(error.message));
};
