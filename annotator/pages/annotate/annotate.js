// The annotation page: prefetches items, shows the next one at once, and saves votes through the outbox.
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
  let queue = [];          // items to judge; the first one is on the screen
  let rejecting = null;    // the reasons chosen so far, or null while no rejection has begun
  let finished = false;    // no more items will come: paused, closed or complete
  const durations = [];    // of the votes of this visit, in milliseconds
  const past = [];         // votes of this visit, for undo

  // ---- active time on a triple: a pause without input counts as a minute at most
  let activeMs = 0, lastInput = 0;
  const recordInput = () => {
    const now = performance.now();
    activeMs += Math.min(now - lastInput, IDLE_MS);
    lastInput = now;
  };
  for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) addEventListener(kind, recordInput, { passive: true });

  const outbox = new LSKD.Outbox(tab, {
    send: (vote) => call("/api/votes", { ...vote, tab, ahead: batch && vote.batch === batch.name && !finished ? AHEAD + outbox.votes.length - 1 : 0 }),
    saved: (vote, answer) => {
      if (answer.feedback) showFeedback(answer.feedback);
      if (batch && vote.batch === batch.name) enqueue(answer.items);
      if (answer.paused) load();
    },
    lost: (_, error) => showMessage(say(error.message)),
    changed: () => {
      showStatus();
      if (!queue.length && !outbox.votes.length && !outbox.sending && batch && !finished) load();
    },
  });

  // ---- items
  function enqueue(items) {
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
      const requested = new URLSearchParams(location.search).get("batch");
      const batches = await call("/api/batches");
      const chosen = batches.find((b) => b.name === requested) ?? batches.find((b) => b.open && b.left > 0) ?? batches[0];
      if (!chosen) {
        return showEmpty(say("Nothing to label yet"), say("Import triples with lskd import, then create a batch with lskd batch NAME."));
      }
      const answer = await call(`/api/next?batch=${encodeURIComponent(chosen.name)}&tab=${tab}&count=${AHEAD + outbox.votes.length}`);
      batch = answer.batch;
      if (answer.quota !== null) batch.total = Math.min(batch.total, answer.quota);
      finished = !answer.items.length;
      enqueue(answer.items);
      if (!queue.length && !outbox.votes.length) showEnd(answer);
      showStatus();
    } catch (error) {
      showEmpty(say("The app is not responding"), error.message);
    }
  }

  // Why there is no next item.
  function showEnd({ paused, finish }) {
    const done = say("You have judged {n} of {total} triples in {batch}.", { n: batch.mine, total: batch.total, batch: batch.name });
    if (paused) return showEmpty(say("Paused"), `${say(paused)} ${say("A researcher can let you continue.")}`);
    if (finish) {
      const link = finish.url.startsWith("https://") ? finish.url : "";
      return showEmpty(say("All done. Thank you!"), say("Your completion code: {code}", { code: finish.code }), link, say("Return to the study"));
    }
    if (!batch.open) return showEmpty(say("This batch is closed"), done);
    const [href, label] = me.role === "annotator" ? ["", ""] : ["/critic/", say("Go to the critic")];
    showEmpty(batch.mine ? say("All done. Thank you!") : say("Nothing left to label"), done, href, label);
  }

  function showEmpty(title, text, href = "", label = "") {
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
    showStatus();
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
    setReasons(null);
    activeMs = 0;
    lastInput = performance.now();
    root.dispatchEvent(new CustomEvent("shown", { bubbles: true, detail: item.triple }));
  }

  // ---- deciding
  function decide(decision, reasons = []) {
    const item = queue.shift();
    if (!item) return;
    recordInput();
    durations.push(activeMs);
    const vote = {
      key: fresh(), batch: item.batch, triple: item.triple, decision, reasons,
      duration_ms: Math.round(activeMs), guideline,
    };
    past.push({ item, vote });
    if (decision !== "skip") batch.mine += 1;
    batch.left = Math.max(0, batch.left - 1);
    showMessage("");
    $(".feedback").hidden = true;
    if (queue.length) show();
    else $("main").style.visibility = "hidden";
    outbox.add(vote);
    showStatus();
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
      finished = false;
      queue = [last.item, ...queue.filter((item) => item.triple !== last.item.triple)];
      show();
      showMessage(say("Undone"));
    } catch (error) {
      showMessage(say(error.message));
    }
    showStatus();
  }

  function setReasons(reasons) {
    rejecting = reasons;
    $(".reasons").classList.toggle("open", reasons !== null);
    $("[data-do=reject]").setAttribute("aria-expanded", String(reasons !== null));
    REASONS.forEach(([name], i) => $(".reasons").children[i].setAttribute("aria-pressed", String(Boolean(reasons?.includes(name)))));
  }

  function pickReason(index, several) {
    const name = REASONS[index][0];
    if (!several) return decide("reject", [...new Set([...(rejecting ?? []), name])]);
    const chosen = rejecting ?? [];
    setReasons(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name]);
  }

  function showFeedback({ right, decision, note }) {
    const box = $(".feedback");
    const verdict = right ? say("Correct.") : say(decision === "accept" ? "The last triple should be accepted." : "The last triple should be rejected.");
    box.textContent = note ? `${verdict} ${note}` : verdict;
    box.classList.toggle("right", right);
    box.hidden = false;
  }

  // ---- dialogs
  async function loadGuidelines() {
    const guidelines = await call("/api/guidelines");
    guideline = guidelines.id;
    $("dialog.guidelines .text").innerHTML = guidelines.html; // sanitised by annotator/crowd/guidelines.py
  }

  async function openHistory(before = null) {
    const rows = $("dialog.history .rows");
    if (before === null) rows.replaceChildren();
    await outbox.idle();
    const page = await call(`/api/history?batch=${encodeURIComponent(batch.name)}${before === null ? "" : `&before=${before}`}`);
    rows.append(...page.map(historyRow));
    $("[data-do=older]").hidden = page.length < 20;
    $("[data-do=older]").dataset.before = page.at(-1)?.id ?? "";
    if (!rows.children.length) rows.append(make("p", { class: "quiet", textContent: say("No votes yet.") }));
    if (!$("dialog.history").open) $("dialog.history").showModal();
  }

  function historyRow(vote) {
    const known = new Set(vote.item.regions.map((region) => region.number));
    const words = ["question", "answer", "rationale"].map((part) => {
      const line = make("p", { class: "words" });
      write(line, vote.item[part], known);
      return line;
    });
    const choice = make("select", { ariaLabel: say("your vote"), disabled: !vote.can_change },
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
        const entry = past.find(({ item }) => item.triple === vote.item.triple);
        if (entry) entry.vote.key = key;
        row.classList.add("changed");
      } catch (error) {
        $("dialog.history .alarm").textContent = say(error.message);
      }
    });
    return row;
  }

  const actions = {
    accept: () => decide("accept"),
    reject: () => (rejecting === null ? setReasons([]) : decide("reject", rejecting)),
    skip: () => decide("skip"),
    undo,
    flag: () => { if (queue[0]) $("dialog.flag").showModal(); },
    history: () => { if (batch) openHistory().catch((error) => showMessage(error.message)); },
    guidelines: () => loadGuidelines().then(() => $("dialog.guidelines").showModal()),
    help: () => $("dialog.help").showModal(),
    close: (button) => button.closest("dialog").close(),
    older: (button) => openHistory(Number(button.dataset.before)),
    leave: () => call("/api/me/sign-out-everywhere", {}).then(() => location.assign("/login")),
  };

  // ---- status
  const showMessage = (text) => { $(".message").textContent = text; };

  function showStatus() {
    $("[data-do=undo]").disabled = !past.length;
    if (!batch) return status.replaceChildren();
    const recent = durations.slice(-10).sort((a, b) => a - b);
    const pace = recent.length ? recent[Math.floor(recent.length / 2)] : null;
    const minutes = pace === null ? null : Math.ceil(((batch.total - batch.mine) * pace) / 60_000);
    const saved = outbox.trouble || (outbox.slow ? say("Saving…") : say("✓ Saved"));
    status.replaceChildren(
      make("span", {}, `${say("Batch")} `, make("b", { textContent: batch.name })),
      make("progress", { max: batch.total, value: batch.mine, ariaLabel: say("triples you have judged") }),
      make("span", {}, make("b", { textContent: batch.mine }), ` ${say("of {n}", { n: batch.total })}`),
      make("span", { textContent: pace === null ? "" : say("{s} s per triple, about {m} min left", { s: Math.max(1, Math.round(pace / 1000)), m: minutes }) }),
      make("span", { class: outbox.trouble ? "alarm saved" : "saved", textContent: saved }),
    );
  }

  // ---- keys and preferences
  let keys = me.preferences.keys;
  const ACTIONS = { accept: "Accept", reject: "Reject", skip: "Skip", undo: "Undo", flag: "Flag", history: "History", guidelines: "Guidelines", help: "Keys" };

  function showKeys() {
    for (const [action, key] of Object.entries(keys)) {
      const hint = $(`[data-do=${action}] kbd`);
      if (hint) hint.textContent = key.toUpperCase();
      for (const cell of root.querySelectorAll(`[data-key=${action}]`)) cell.textContent = key.toUpperCase();
    }
    $(".settings .keys").replaceChildren(...Object.entries(keys).map(([action, key]) =>
      make("label", {}, `${say(ACTIONS[action])} `, make("input", { type: "text", name: action, value: key, maxLength: 1, size: 2, required: true, autocomplete: "off" }))));
    const select = $(".settings [name=language]");
    select.replaceChildren(...Object.entries(me.languages).map(([value, textContent]) => make("option", { value, textContent })));
    select.value = me.language;
    $("[data-do=leave]").hidden = me.name === "local";
  }

  $(".settings").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { language, ...chosen } = Object.fromEntries(new FormData(event.target));
    try {
      const saved = await call("/api/me/preferences", { language, keys: chosen }, "PUT");
      if (language !== me.language) return location.reload();
      keys = saved.keys;
      showKeys();
      $("dialog.help").close();
    } catch (error) {
      $(".settings .alarm").textContent = say(error.message);
    }
  });

  $("dialog.flag form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await call("/api/flags", { triple: queue[0].triple, note: new FormData(event.target).get("note") });
      event.target.reset();
      $("dialog.flag").close();
      showMessage(say("Flagged"));
    } catch (error) {
      $("dialog.flag .alarm").textContent = say(error.message);
    }
  });

  // ---- wiring
  REASONS.forEach(([, text], i) => $(".reasons").append(
    make("button", { type: "button", onclick: (event) => pickReason(i, event.shiftKey) }, make("kbd", { textContent: i + 1 }), say(text))));
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    actions[button?.dataset.do]?.(button);
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (root.querySelector("dialog[open]") || event.target.closest?.("input, textarea, select")) return;
    const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
    const action = Object.keys(keys).find((name) => keys[name] === event.key.toLowerCase());
    if (digit && rejecting !== null) pickReason(Number(digit[1]) - 1, event.shiftKey);
    else if (event.key === "Enter" && rejecting?.length) decide("reject", rejecting);
    else if (event.key === "Escape") setReasons(null);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") canvas.image && canvas.step(event.key === "ArrowRight" ? 1 : -1);
    else if (action) actions[action]();
    else return;
    event.preventDefault();
  });
  showKeys();
  setInterval(showStatus, 500);
  await Promise.all([load(), loadGuidelines()]);
};
