// The generate page: a picture's texts, the prompt that a task makes of them, runs and rejections.
"use strict";
LSKD.pages.generate = async (root, server) => {
  const { Canvas, begin, make, picture, say, write } = LSKD;
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"));
  const POLL_MS = 1500;
  const MAX_TEXT = 600;
  const LABELS = {
    no_json: "not JSON", cut_off: "truncated", fields: "missing or invalid fields", leak: "mentions its source",
    repeat: "near duplicate", interrupted: "stopped by a user", budget_spent: "budget spent",
  };
  const label = (name) => say(LABELS[name] ?? name);
  const dollars = (amount) => `$${amount.toFixed(4)}`;
  let preview = null, timer = null;

  await begin(root);

  async function call(name, body) {
    const answer = await server[name](body ?? {});
    if (answer?.error) throw new Error(answer.error);
    return answer;
  }
  const showMessage = (text) => { $(".message").textContent = text; };
  const value = (name) => $(`[name=${name}]`).value;

  // The values of form fields, by name.
  function form(...names) {
    if (names.includes("model") && !value("model").trim()) throw new Error(say("Enter the model's name, e.g. gpt-4o-mini"));
    return Object.fromEntries(names.map((name) => [name, ["task", "model"].includes(name) ? value(name) : Number(value(name))]));
  }

  async function load() {
    const overview = await call("overview");
    $("main").hidden = !overview.images;
    $(".empty").hidden = Boolean(overview.images);
    const select = $("[name=task]");
    if (!select.options.length) {
      select.append(...Object.entries(overview.tasks).map(([name, title]) => make("option", { value: name, textContent: say(title) })));
    }
    $(".status").replaceChildren(
      make("span", {}, `${say("Server")} `, make("b", { textContent: overview.server })),
      make("span", {}, `${say("spent so far")} `, make("b", { textContent: dollars(overview.spent_usd) })));
    showRuns(overview.runs);
    showRejected(overview.rejected);
    showJob(overview.job);
    if (overview.images && !preview) await showPreview(0);
  }

  function showRuns(runs) {
    $(".runs").closest("section").hidden = !runs.length;
    const head = ["run", "task", "model", "prompt", "status", "replies", "failed calls", "kept", "rejected", "cost"];
    const cells = (run) => [
      run.name, say(run.task), run.model, run.prompt, label(run.stopped || run.status),
      run.replies, run.failed_calls, run.kept, run.rejected, dollars(run.cost_usd),
    ];
    const cell = (tag) => (textContent, i) => make(tag, { textContent: tag === "th" ? say(textContent) : textContent, class: i > 4 ? "number" : "" });
    $(".runs").replaceChildren(make("tr", {}, ...head.map(cell("th"))), ...runs.map((run) => make("tr", {}, ...cells(run).map(cell("td")))));
  }

  function showRejected(reasons) {
    $(".rejected").closest("section").hidden = !reasons.length;
    const open = new Set([...root.querySelectorAll(".rejected details[open]")].map((details) => details.dataset.reason));
    $(".rejected").replaceChildren(...reasons.map(({ reason, count, examples }) => {
      const details = make("details", { open: open.has(reason) },
        make("summary", {}, make("b", { textContent: count }), ` ${label(reason)}`),
        ...examples.map(({ detail, text }) => make("p", { textContent: text.slice(0, MAX_TEXT) }, make("small", { textContent: detail }))));
      details.dataset.reason = reason;
      return details;
    }));
  }

  function showJob(job) {
    $("[data-do=start]").hidden = job.running;
    $("[data-do=pause]").hidden = !job.running;
    $("[data-do=pause]").disabled = job.pausing;
    const bar = $("progress");
    bar.hidden = !job.running;
    if (job.total) Object.assign(bar, { max: job.total, value: job.done });
    if (job.failure) showMessage(job.failure);
    else if (job.pausing) showMessage(say("Waiting for the calls in flight…"));
    clearTimeout(timer);
    if (job.running) timer = setTimeout(() => load().catch((error) => showMessage(error.message)), POLL_MS);
  }

  async function showPreview(after) {
    preview = await call("preview", { task: value("task"), after });
    canvas.show(preview, picture(preview.image, $(".picture").clientWidth || innerWidth));
    $(".texts").replaceChildren(...preview.texts.map(({ region, kind, text, answer, model }) => make("li", {},
      region === null ? make("small", { textContent: say(kind) }) : make("span", {}, LSKD.chip(region, canvas)),
      make("span", { textContent: answer ? `${text} — ${answer}` : text }),
      make("small", { textContent: model }))));
    if (!preview.texts.length) $(".texts").replaceChildren(make("li", { textContent: say("No texts yet: run lskd verbalize, or import captions.") }));
    $(".messages").replaceChildren(...(preview.skip_reason
      ? [make("p", { textContent: say("This picture is skipped: {reason}.", { reason: say(preview.skip_reason) }) })]
      : preview.messages.flatMap(({ role, content }) => [make("h3", { textContent: role }), make("pre", { textContent: content })])));
    $(".output").hidden = true;
  }

  function showOutput({ kept, rejected }) {
    const numbers = new Set(preview.regions.map((region) => region.number));
    const paragraph = (text) => {
      const element = make("p", { class: "words" });
      write(element, text, numbers, canvas);
      return element;
    };
    $(".output").hidden = false;
    $(".output").replaceChildren(
      ...kept.map((texts) => make("article", {}, ...texts.map(paragraph))),
      ...rejected.map(({ reason, detail, text }) => make("p", { class: "rejection", textContent: `${label(reason)}: ${detail} — ${text.slice(0, MAX_TEXT / 2)}` })));
    showMessage(say("{kept} kept, {rejected} rejected", { kept: kept.length, rejected: rejected.length }));
  }

  // A cost estimate as one sentence; parts that are zero are left out.
  function estimateText(estimate) {
    const number = (n) => n.toLocaleString("en");
    const tokens = estimate.prompt_tokens;
    const parts = [
      say("{n} calls", { n: number(estimate.calls) }),
      estimate.exact_token_count
        ? say("{n} prompt tokens", { n: number(tokens) })
        : say("about {n} prompt tokens (estimated)", { n: number(Number(tokens.toPrecision(2))) }),
    ];
    if (estimate.image_tokens_included === false) parts.push(say("tokens of pictures not included"));
    if (estimate.max_cost_usd === null) parts.push(say("cost unknown: this model has no price"));
    else parts.push(say("at most {cost}", { cost: dollars(estimate.max_cost_usd) }));
    if (estimate.expected_cost_usd !== null) parts.push(say("probably {cost}", { cost: dollars(estimate.expected_cost_usd) }));
    if (estimate.answered_before) parts.push(say("{n} answered before", { n: number(estimate.answered_before) }));
    if (estimate.awaiting_collection) parts.push(say("{n} submitted", { n: number(estimate.awaiting_collection) }));
    for (const [reason, n] of Object.entries(estimate.skipped_images)) parts.push(say("{n} pictures skipped: {reason}", { n: number(n), reason: say(reason) }));
    if (estimate.images_in_other_language) parts.push(say("{n} pictures with texts in another language", { n: number(estimate.images_in_other_language) }));
    return parts.join(", ");
  }

  const DO = {
    next: () => showPreview(preview.image.id),
    try: async () => { showOutput(await call("try_out", { ...form("task", "model", "budget"), image: preview.image.id })); await load(); },
    estimate: async () => showMessage(estimateText(await call("estimate", form("task", "model", "samples", "budget")))),
    start: async () => { showMessage(""); showJob(await call("start", form("task", "model", "samples", "budget"))); },
    pause: async () => showJob(await call("pause")),
  };
  for (const button of root.querySelectorAll("[data-do]")) {
    button.addEventListener("click", async () => {
      button.disabled = true;
      try { await DO[button.dataset.do](); } catch (error) { showMessage(error.message); }
      if (button.dataset.do !== "pause") button.disabled = false;
    });
  }
  $("[name=task]").addEventListener("change", () => showPreview(preview.image.id - 1).catch((error) => showMessage(error.message)));
  load().catch((error) => showMessage(error.message));
};
