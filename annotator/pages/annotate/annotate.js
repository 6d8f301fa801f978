// The annotator's page: looks ahead, decides at once, and saves through its tab's outbox.
"use strict";
LSKD.pages.annotate = async (root) => {
  const { Canvas, REASONS, begin, call, make, picture, say, write } = LSKD;
  const AHEAD = 4, IDLE_MS = 60_000;
  const $ = (selector) => root.querySelector(selector);
  const status = $(".status");
  const me = await begin(root);
  const { id: tab, fresh } = await LSKD.tab();
  const canvas = new Canvas($(".picture"));

  let batch = null, guideline = null;
  let queue = [];          // items to judge, the one on the screen first
  let rejecting = null;    // reasons chosen so far, once R was pressed
  let over = false;        // nothing more comes: paused, finished or done
  const paces = [];
  const past = [];         // votes of this visit, for undo

  // ---- time in front of a triple: a long stretch without any sign of life counts as a minute
  let spent = 0, sign = 0;
  const alive = () => {
    const now = performance.now();
    spent += Math.min(now - sign, IDLE_MS);
    sign = now;
  };
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) addEventListener(kind, alive, { passive: true });

  const outbox = new LSKD.Outbox(tab, {
    send: (vote) => call("/api/votes", { ...vote, tab, ahead: batch && vote.batch === batch.name && !over ? AHEAD + outbox.votes.length - 1 : 0 }),
    saved: (vote, answer) => {
      if (answer.feedback) teach(answer.feedback);
      if (batch && vote.batch === batch.name) take(answer.items);
      if (answer.paused) load();
    },
    lost: (_, error) => tell(say(error.message)),
    changed: () => {
      state();
      if (!queue.length && !outbox.votes.length && !outbox.sending && batch && !over) load();
    },
  });

  // ---- what is next
  function take(items) {
    const known = new Set([...queue, ...outbox.votes].map((item) => item.triple));
    for (const item of items) {
      if (known.has(item.triple)) continue;
      item.img = picture(item.image, $(".picture").clientWidth || innerWidth);
      queue.push(item);
    }
    if (queue.length && queue[0] !== canvas.item) show();
  }

  async function load() {
    try {
      const wished = new URLSearchParams(location.search).get("batch");
      const all = await call("/api/batches");
      const chosen = all.find((b) => b.name === wished) ?? all.find((b) => b.open && b.left > 0) ?? all[0];
      if (!chosen) {
        return empty(say("Nothing to label yet"), say("Bring in triples with lskd import, then make a batch of them with lskd batch NAME."));
      }
      const answer = await call(`/api/next?batch=${encodeURIComponent(chosen.name)}&tab=${tab}&count=${AHEAD + outbox.votes.length}`);
      batch = answer.batch;
      if (answer.quota !== null) batch.total = Math.min(batch.total, answer.quota);
      over = !answer.items.length;
      take(answer.items);
      if (!queue.length && !outbox.votes.length) nothing(answer);
      state();
    } catch (error) {
      empty(say("The app does not answer"), error.message);
    }
  }

  function nothing({ paused, finish }) {
    const done = say("You judged {n} of {total} triples in {batch}.", { n: batch.mine, total: batch.total, batch: batch.name });
    if (paused) return empty(say("Paused"), paused);
    if (finish) {
      const link = finish.url.startsWith("https://") ? finish.url : "";
      return empty(say("All done. Thank you!"), say("Your completion code: {code}", { code: finish.code }), link, say("Back to the study"));
    }
    if (!batch.open) return empty(say("This batch is closed"), done);
    const [href, label] = me.role === "annotator" ? ["", ""] : ["/critic/", say("See what the critic learns")];
    empty(batch.mine ? say("All done. Thank you!") : say("Nothing left for you here"), done, href, label);
  }

  function empty(title, text, href = "", label = "") {
    $("main").hidden = true;
    const box = $(".empty");
    box.hidden = false;
    box.querySelector("h1").textContent = title;
    box.querySelector("p").textContent = text;
    const link = box.querySelector("a");
    link.hidden = !href;
    link.href = href;
    link.textContent = label;
    canvas.item = null;
    state();
  }

  function show() {
    const item = queue[0];
    if (!item) return;
    $("main").hidden = false;
    $("main").style.visibility = "";
    $(".empty").hidden = true;
    canvas.item = item;
    canvas.show(item, item.img);
    const known = new Set(item.regions.map((region) => region.number));
    for (const part of ["question", "answer", "rationale"]) write($(`.words.${part}`), item[part], known, canvas);
    choose(null);
    spent = 0;
    sign = performance.now();
    root.dispatchEvent(new CustomEvent("shown", { bubbles: true, detail: item.triple }));
  }

  // ---- deciding
  function decide(decision, reasons = []) {
    const item = queue.shift();
    if (!item) return;
    alive();
    paces.push(spent);
    const vote = {
      key: fresh(), batch: item.batch, triple: item.triple, decision, reasons,
      duration_ms: Math.round(spent), guideline,
    };
    past.push({ item, vote });
    if (decision !== "skip") batch.mine += 1;
    batch.left = Math.max(0, batch.left - 1);
    tell("");
    $(".lesson").hidden = true;
    if (queue.length) show();
    else $("main").style.visibility = "hidden";
    outbox.add(vote);
    state();
  }

  async function undo() {
    const last = past.pop();
    if (!last) return;
    try {
      if (!outbox.take(last.vote)) {
        await outbox.idle();
        await call("/api/undo", { key: last.vote.key, tab });
      }
      if (last.vote.decision !== "skip") batch.mine -= 1;
      batch.left += 1;
      over = false;
      queue = [last.item, ...queue.filter((item) => item.triple !== last.item.triple)];
      show();
      tell(say("undone"));
    } catch (error) {
      tell(say(error.message));
    }
    state();
  }

  function choose(reasons) {
    rejecting = reasons;
    $(".reasons").classList.toggle("open", reasons !== null);
    $("[data-do=reject]").setAttribute("aria-expanded", String(reasons !== null));
    REASONS.forEach(([name], i) => $(".reasons").children[i].setAttribute("aria-pressed", String(Boolean(reasons?.includes(name)))));
  }

  function reason(index, several) {
    const name = REASONS[index][0];
    if (!several) return decide("reject", [...new Set([...(rejecting ?? []), name])]);
    const chosen = rejecting ?? [];
    choose(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  }

  function teach({ right, decision, note }) {
    const box = $(".lesson");
    const verdict = right ? say("Right.") : say(decision === "accept" ? "The guidelines accept the last one." : "The guidelines reject the last one.");
    box.textContent = note ? `${verdict} ${note}` : verdict;
    box.classList.toggle("right", right);
    box.hidden = false;
  }

  // ---- dialogs
  async function readGuidelines() {
    const found = await call("/api/guidelines");
    guideline = found.id;
    $("dialog.guidelines .text").innerHTML = found.html; // made safe by annotator/crowd/guidelines.py
    return found;
  }

  async function openHistory(before = null) {
    const rows = $("dialog.history .rows");
    if (before === null) rows.replaceChildren();
    await outbox.idle();
    const page = await call(`/api/history?batch=${encodeURIComponent(batch.name)}${before === null ? "" : `&before=${before}`}`);
    rows.append(...page.map(pastVote));
    $("[data-do=older]").hidden = page.length < 20;
    $("[data-do=older]").dataset.before = page.at(-1)?.id ?? "";
    if (!rows.children.length) rows.append(make("p", { class: "quiet", textContent: say("Nothing yet.") }));
    if (!$("dialog.history").open) $("dialog.history").showModal();
  }

  function pastVote(vote) {
    const known = new Set(vote.item.regions.map((region) => region.number));
    const words = ["question", "answer", "rationale"].map((part) => {
      const line = make("p", { class: "words" });
      write(line, vote.item[part], known);
      return line;
    });
    const choice = make("select", { ariaLabel: say("your decision"), disabled: !vote.can_change },
      ...[["accept", "accept"], ...REASONS.map(([name, text]) => [`reject:${name}`, `reject: ${text}`]), ["reject", "reject"], ["skip", "skip"]]
        .map(([value, text]) => make("option", { value, textContent: text.split(": ").map((part) => say(part)).join(": ") })));
    choice.value = vote.decision === "reject" && vote.reasons.length ? `reject:${vote.reasons[0]}` : vote.decision;
    const row = make("article", {}, make("img", { src: `${vote.item.image.url}?width=160`, alt: "", loading: "lazy" }), make("div", {}, ...words), choice);
    choice.addEventListener("change", async () => {
      const [decision, because] = choice.value.split(":");
      const key = fresh();
      try {
        await call("/api/corrections", { key, replaces: vote.key, decision, reasons: because ? [because] : [], guideline });
        vote.key = key;
        const seen = past.findIndex((one) => one.item.triple === vote.item.triple);
        if (seen >= 0) past[seen].vote.key = key;
        row.classList.add("changed");
      } catch (error) {
        $("dialog.history .alarm").textContent = say(error.message);
      }
    });
    return row;
  }

  const actions = {
    accept: () => decide("accept"),
    reject: () => (rejecting === null ? choose([]) : decide("reject", rejecting)),
    skip: () => decide("skip"),
    undo,
    flag: () => { if (queue[0]) $("dialog.flag").showModal(); },
    history: () => { if (batch) openHistory().catch((error) => tell(error.message)); },
    guidelines: () => readGuidelines().then(() => $("dialog.guidelines").showModal()),
    help: () => $("dialog.help").showModal(),
    close: (button) => button.closest("dialog").close(),
    older: (button) => openHistory(Number(button.dataset.before)),
    leave: () => call("/api/me/sign-out-everywhere", {}).then(() => location.assign("/login")),
  };

  // ---- state: always true, never loud
  const tell = (text) => { $(".told").textContent = text; };

  function state() {
    $("[data-do=undo]").disabled = !past.length;
    if (!batch) return status.replaceChildren();
    const last = paces.slice(-10).sort((a, b) => a - b);
    const pace = last.length ? last[Math.floor(last.length / 2)] : null;
    const minutes = pace === null ? null : Math.ceil(((batch.total - batch.mine) * pace) / 60_000);
    const saved = outbox.trouble || (outbox.slow ? say("Saving…") : say("✓ saved"));
    status.replaceChildren(
      make("span", {}, `${say("Batch")} `, make("b", { textContent: batch.name })),
      make("progress", { max: batch.total, value: batch.mine, ariaLabel: say("triples that you judged") }),
      make("span", {}, make("b", { textContent: batch.mine }), ` ${say("of {n}", { n: batch.total })}`),
      make("span", { textContent: pace === null ? "" : say("{s} s each, {m} min left", { s: Math.max(1, Math.round(pace / 1000)), m: minutes }) }),
      make("span", { class: outbox.trouble ? "alarm saved" : "saved", textContent: saved }),
    );
  }

  // ---- keys and preferences
  let keys = me.preferences.keys;
  const shown = (key) => key.toUpperCase();
  const ACTIONS = { accept: "Accept", reject: "Reject", skip: "Skip", undo: "Undo", flag: "Flag", history: "History", guidelines: "Guidelines", help: "Keys" };

  function showKeys() {
    for (const [action, key] of Object.entries(keys)) {
      const hint = $(`[data-do=${action}] kbd`);
      if (hint) hint.textContent = shown(key);
      for (const cell of root.querySelectorAll(`[data-key=${action}]`)) cell.textContent = shown(key);
    }
    $(".yours .keys").replaceChildren(...Object.entries(keys).map(([action, key]) =>
      make("label", {}, `${say(ACTIONS[action])} `, make("input", { type: "text", name: action, value: key, maxLength: 1, size: 2, required: true, autocomplete: "off" }))));
    const select = $(".yours [name=language]");
    select.replaceChildren(...Object.entries(me.languages).map(([value, textContent]) => make("option", { value, textContent })));
    select.value = me.language;
    $("[data-do=leave]").hidden = me.name === "local";
  }

  $(".yours").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { language, ...chosen } = Object.fromEntries(new FormData(event.target));
    try {
      const kept = await call("/api/me/preferences", { language, keys: chosen }, "PUT");
      if (language !== me.language) return location.reload();
      keys = kept.keys;
      showKeys();
      $("dialog.help").close();
    } catch (error) {
      $(".yours .alarm").textContent = say(error.message);
    }
  });

  $("dialog.flag form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("/api/flags", { triple: queue[0].triple, note: new FormData(event.target).get("note") });
      event.target.reset();
      $("dialog.flag").close();
      tell(say("flagged"));
    } catch (error) {
      $("dialog.flag .alarm").textContent = say(error.message);
    }
  });

  // ---- wiring
  REASONS.forEach(([, text], i) => $(".reasons").append(
    make("button", { type: "button", onclick: (event) => reason(i, event.shiftKey) }, make("kbd", { textContent: i + 1 }), say(text))));
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    actions[button?.dataset.do]?.(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (root.querySelector("dialog[open]") || event.target.closest?.("input, textarea, select")) return;
    const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
    const action = Object.keys(keys).find((name) => keys[name] === event.key.toLowerCase());
    if (digit && rejecting !== null) reason(Number(digit[1]) - 1, event.shiftKey);
    else if (event.key === "Enter" && rejecting?.length) decide("reject", rejecting);
    else if (event.key === "Escape") choose(null);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") canvas.image && canvas.step(event.key === "ArrowRight" ? 1 : -1);
    else if (action) actions[action]();
    else return;
    event.preventDefault();
  });
  showKeys();
  setInterval(state, 500);
  await Promise.all([load(), readGuidelines()]);
};
