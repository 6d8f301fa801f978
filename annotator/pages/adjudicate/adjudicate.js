// The adjudication page: decides triples that annotators disagree on or have flagged.
"use strict";
LSKD.pages.adjudicate = async (root) => {
  const { Canvas, REASONS, begin, call, make, picture, say, write } = LSKD;
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"));
  await begin(root);
  const DECISIONS = { accept: "accept", reject: "reject", skip: "skip" };
  const simulated = new URLSearchParams(location.search).get("simulated") === "true";
  let queue = [], waiting = 0, rejecting = null, last = null;
  const skipped = new Set();

  const showMessage = (text) => { $(".message").textContent = text; };

  async function load() {
    const pending = await call(`/api/research/adjudication?limit=100&simulated=${simulated}`);
    waiting = pending.waiting;
    queue = pending.triples.filter((item) => !skipped.has(item.triple));
    show();
  }

  function show() {
    const item = queue[0];
    $("main").hidden = !item;
    $(".empty").hidden = Boolean(item);
    $(".status").replaceChildren(make("span", {}, make("b", { textContent: waiting }), ` ${say("to adjudicate")}`),
      ...(simulated ? [make("span", { class: "alarm", textContent: say("includes simulated votes") })] : []));
    $("[data-do=undo]").disabled = !last;
    if (!item) {
      $(".empty h1").textContent = skipped.size ? say("Only skipped triples are left") : say("Nothing to adjudicate");
      $(".empty p").textContent = say("Triples appear here when annotators disagree on them or flag them.");
      return;
    }
    canvas.show(item, picture(item.image, $(".picture").clientWidth || innerWidth));
    const known = new Set(item.regions.map((region) => region.number));
    for (const part of ["question", "answer", "rationale"]) write($(`.words.${part}`), item[part], known, canvas);
    $(".flags").replaceChildren(...item.flags.map((note) => make("p", { class: "note", textContent: say("Flagged: {note}", { note }) })));
    $(".votes").replaceChildren(...item.votes.map((vote, i) => make("li", { class: vote.decision, id: `vote-${vote.id}` },
      make("b", { textContent: say(DECISIONS[vote.decision]) }),
      make("span", { textContent: vote.decision === "accept" ? "" : vote.reasons.map((name) => say(REASONS.find(([n]) => n === name)[1])).join(", ") || say("no reason") }),
      make("small", { textContent: `${say("annotator {n}", { n: i + 1 })}${vote.duration_ms === null ? "" : ` · ${Math.round(vote.duration_ms / 1000)} s`}` }))));
    $("[name=note]").value = "";
    setReasons(null);
  }

  function setReasons(reasons) {
    rejecting = reasons;
    $(".reasons").classList.toggle("open", reasons !== null);
    $("[data-do=reject]").setAttribute("aria-expanded", String(reasons !== null));
    REASONS.forEach(([name], i) => $(".reasons").children[i].setAttribute("aria-pressed", String(Boolean(reasons?.includes(name)))));
  }

  async function decide(decision, reasons = []) {
    const item = queue[0];
    if (!item) return;
    try {
      const { names } = await call("/api/research/adjudication", { triple: item.triple, decision, reasons, note: $("[name=note]").value });
      last = item;
      queue.shift();
      waiting -= 1;
      show();
      const votes = item.votes.map((vote) => `${names[vote.id]}: ${say(DECISIONS[vote.decision])}`).join(" · ");
      showMessage(`${decision === "accept" ? say("Accepted. Votes:") : say("Rejected. Votes:")} ${votes}`);
      if (!queue.length && waiting > skipped.size) await load();
    } catch (error) {
      showMessage(error.message);
    }
  }

  const actions = {
    accept: () => decide("accept"),
    reject: () => (rejecting === null ? setReasons([]) : decide("reject", rejecting)),
    skip: () => { if (queue[0]) { skipped.add(queue.shift().triple); show(); } },
    undo: async () => {
      if (!last) return;
      await call(`/api/research/adjudication/${last.triple}`, {}, "DELETE");
      queue.unshift(last);
      waiting += 1;
      last = null;
      show();
      showMessage(say("Undone"));
    },
  };
  REASONS.forEach(([name, text], i) => $(".reasons").append(
    make("button", { type: "button", onclick: () => decide("reject", [name]) }, make("kbd", { textContent: i + 1 }), say(text))));
  root.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
    const act = { a: actions.accept, r: actions.reject, s: actions.skip, u: actions.undo }[event.key.toLowerCase()];
    if (digit && rejecting !== null) decide("reject", [REASONS[Number(digit[1]) - 1][0]]);
    else if (event.key === "Escape") setReasons(null);
    else if (event.key.startsWith("Arrow")) canvas.image && canvas.step(event.key === "ArrowRight" ? 1 : -1);
    else if (act) act();
    else return;
    event.preventDefault();
  });
  load().catch((error) => showMessage(error.message));
};
