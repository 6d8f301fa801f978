// The annotator's page: looks ahead, decides at once, and saves through an outbox of its own.
"use strict";
LSKD.pages.annotate = (root) => {
  const { Canvas, call, make, picture, write } = LSKD;
  const AHEAD = 4;
  const REASONS = [
    ["wrong_region", "wrong region"], ["not_in_image", "not in the image"], ["wrong_answer", "wrong answer"],
    ["unsupported", "rationale does not support it"], ["trivial", "trivial"], ["harmful", "harmful"],
  ];
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"));
  const status = $(".status");

  let batch = null;
  let queue = [];          // items to judge, the one on the screen first
  let since = 0;           // when it was painted
  let rejecting = null;    // reasons chosen so far, once R was pressed
  const paces = [];
  const history = [];      // votes of this visit, for undo

  // ---- the outbox: votes stay in the browser's storage until the server has them on disk
  const STORAGE = "lskd-outbox";
  const outbox = JSON.parse(localStorage.getItem(STORAGE) ?? "[]");
  let sending = false, waitingSince = 0, trouble = "";
  const keep = () => localStorage.setItem(STORAGE, JSON.stringify(outbox));

  async function flush() {
    if (sending) return;
    sending = true;
    let wait = 250;
    waitingSince = performance.now();
    while (outbox.length) {
      const vote = outbox[0];
      try {
        const mine = batch && vote.batch === batch.name;
        const after = Math.max(-1, vote.position, ...queue.map((item) => item.position));
        const answer = await call("/api/votes", { ...vote, ahead: mine ? AHEAD + outbox.length - 1 : 0, after });
        outbox.shift();
        keep();
        if (mine) take(answer.items);
        trouble = "";
        wait = 250;
      } catch (error) {
        if (error.status === 409 || error.status === 404 || error.status === 422) {
          outbox.shift();
          keep();
          tell(error.message);
        } else {
          if (error.status === 401) trouble = "signed out: sign in again in another tab";
          else if (performance.now() - waitingSince > 5000) trouble = `offline: ${outbox.length} kept in this browser`;
          state();
          await new Promise((done) => setTimeout(done, wait));
          wait = Math.min(wait * 2, 5000);
        }
      }
      state();
    }
    sending = false;
    state();
    if (!queue.length) load();
  }

  addEventListener("online", flush);
  addEventListener("beforeunload", (event) => { if (outbox.length) event.preventDefault(); });

  // ---- what is next
  function take(items) {
    const known = new Set([...queue, ...outbox].map((item) => item.position));
    for (const item of items) {
      if (known.has(item.position)) continue;
      item.img = picture(item.image, $(".picture").clientWidth || innerWidth);
      queue.push(item);
    }
    if (queue.length && queue[0] !== canvas.item) show();
  }

  async function load() {
    try {
      const wished = new URLSearchParams(location.search).get("batch");
      const all = await call("/api/batches");
      const chosen = all.find((b) => b.name === wished) ?? all.find((b) => b.left > 0) ?? all[0];
      if (!chosen) {
        return empty("Nothing to label yet", "Bring in triples with lskd import, then make a batch of them with lskd batch NAME.");
      }
      const answer = await call(`/api/next?batch=${encodeURIComponent(chosen.name)}&count=${AHEAD + outbox.length}`);
      batch = answer.batch;
      take(answer.items);
      if (!queue.length && !outbox.length) {
        empty(batch.mine ? "All done. Thank you!" : "Nothing left for you here",
          `You judged ${batch.mine} of ${batch.total} triples in ${batch.name}.`, "/critic/", "See what the critic learns");
      }
      state();
    } catch (error) {
      empty("The app does not answer", error.message);
    }
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
    $(".empty").hidden = true;
    canvas.item = item;
    canvas.show(item, item.img);
    const known = new Set(item.regions.map((region) => region.number));
    for (const part of ["question", "answer", "rationale"]) write($(`.words.${part}`), item[part], known, canvas);
    choose(null);
    since = performance.now();
    root.dispatchEvent(new CustomEvent("shown", { bubbles: true, detail: item.position }));
  }

  // ---- deciding
  function decide(decision, reasons = []) {
    const item = queue.shift();
    if (!item) return;
    const spent = performance.now() - since;
    paces.push(spent);
    const vote = {
      key: crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join(""),
      batch: item.batch, position: item.position, decision, reasons, duration_ms: Math.round(spent),
    };
    outbox.push(vote);
    keep();
    history.push({ item, vote });
    if (decision !== "skip") batch.mine += 1;
    batch.left = Math.max(0, batch.left - 1);
    tell("");
    if (queue.length) show();
    else $("main").style.visibility = "hidden";
    state();
    flush().finally(() => { $("main").style.visibility = ""; });
  }

  async function undo() {
    const last = history.pop();
    if (!last) return;
    const unsent = outbox.indexOf(last.vote);
    try {
      if (unsent > 0 || (unsent === 0 && !sending)) {
        outbox.splice(unsent, 1);
        keep();
      } else {
        while (sending) await new Promise((done) => setTimeout(done, 20));
        await call("/api/undo", { key: last.vote.key });
      }
      if (last.vote.decision !== "skip") batch.mine -= 1;
      batch.left += 1;
      queue = [last.item, ...queue.filter((item) => item.position !== last.item.position)];
      show();
      tell("undone");
    } catch (error) {
      tell(error.message);
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

  const actions = {
    accept: () => decide("accept"),
    reject: () => (rejecting === null ? choose([]) : decide("reject", rejecting)),
    skip: () => decide("skip"),
    undo,
    help: () => $(".help").showModal(),
  };

  // ---- state: always true, never loud
  const tell = (text) => { $(".told").textContent = text; };

  function state() {
    $("[data-do=undo]").disabled = !history.length;
    if (!batch) return status.replaceChildren();
    const last = paces.slice(-10).sort((a, b) => a - b);
    const pace = last.length ? `${Math.max(1, Math.round(last[Math.floor(last.length / 2)] / 1000))} s each` : "";
    const slow = sending && outbox.length && performance.now() - waitingSince > 500;
    const saved = trouble || (slow ? "Saving…" : "✓ saved");
    status.replaceChildren(
      make("span", {}, "Batch ", make("b", { textContent: batch.name })),
      make("progress", { max: batch.total, value: batch.mine, ariaLabel: "triples that you judged" }),
      make("span", {}, make("b", { textContent: batch.mine }), ` of ${batch.total}`),
      make("span", { textContent: pace }),
      make("span", { class: trouble ? "alarm saved" : "saved", textContent: saved }),
    );
  }

  // ---- wiring
  REASONS.forEach(([, words], i) => $(".reasons").append(
    make("button", { type: "button", onclick: (event) => reason(i, event.shiftKey) }, make("kbd", { textContent: i + 1 }), words)));
  root.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if ($(".help").open || event.target.closest?.("input, textarea, select")) return;
    const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
    const act = { a: actions.accept, r: actions.reject, s: actions.skip, u: actions.undo, "?": actions.help }[event.key.toLowerCase()];
    if (digit && rejecting !== null) reason(Number(digit[1]) - 1, event.shiftKey);
    else if (event.key === "Enter" && rejecting?.length) decide("reject", rejecting);
    else if (event.key === "Escape") choose(null);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") canvas.image && canvas.step(event.key === "ArrowRight" ? 1 : -1);
    else if (act && !(event.key === "Enter")) act();
    else return;
    event.preventDefault();
  });
  setInterval(state, 500);
  load().then(flush);
};
