// The last word on triples that people disagree on or flagged.
"use strict";
LSKD.pages.adjudicate = async (root) => {
  const { Canvas, REASONS, begin, call, make, picture, say, write } = LSKD;
  const $ = (selector) => root.querySelector(selector);
  const canvas = new Canvas($(".picture"));
  await begin(root);
  const SAID = { accept: "accept", reject: "reject", skip: "skip" };
  const simulated = new URLSearchParams(location.search).get("simulated") === "true";
  let queue = [], waiting = 0, rejecting = null, last = null;
  const later = new Set();

  const tell = (text) => { $(".told").textContent = text; };

  async function load() {
    const found = await call(`/api/research/adjudication?limit=100&simulated=${simulated}`);
    waiting = found.waiting;
    queue = found.triples.filter((item) => !later.has(item.triple));
    show();
  }

  function show() {
    const item = queue[0];
    $("main").hidden = !item;
    $(".empty").hidden = Boolean(item);
    $(".status").replaceChildren(make("span", {}, make("b", { textContent: waiting }), ` ${say("waiting")}`),
      ...(simulated ? [make("span", { class: "alarm", textContent: say("simulated votes") })] : []));
    $("[data-do=back]").disabled = !last;
    if (!item) {
      $(".empty h1").textContent = later.size ? say("The rest waits for later") : say("Nothing to adjudicate");
      $(".empty p").textContent = say("Triples come here when people disagree on them or flag them.");
      return;
    }
    canvas.show(item, picture(item.image, $(".picture").clientWidth || innerWidth));
    const known = new Set(item.regions.map((region) => region.number));
    for (const part of ["question", "answer", "rationale"]) write($(`.words.${part}`), item[part], known, canvas);
    $(".flags").replaceChildren(...item.flags.map((note) => make("p", { class: "note", textContent: say("Flagged: {note}", { note }) })));
    $(".opinions").replaceChildren(...item.votes.map((vote, i) => make("li", { class: vote.decision, id: `vote-${vote.id}` },
      make("b", { textContent: say(SAID[vote.decision]) }),
      make("span", { textContent: vote.reasons.map((name) => say(REASONS.find(([n]) => n === name)[1])).join(", ") || say("no reason") }),
      make("small", { textContent: `${say("person {n}", { n: i + 1 })}${vote.duration_ms === null ? "" : ` · ${Math.round(vote.duration_ms / 1000)} s`}` }))));
    $("[name=note]").value = "";
    choose(null);
  }

  function choose(reasons) {
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
      const said = item.votes.map((vote) => `${names[vote.id]}: ${say(SAID[vote.decision])}`).join(" · ");
      tell(`${decision === "accept" ? say("The last was accepted.") : say("The last was rejected.")} ${said}`);
      if (!queue.length && waiting > later.size) await load();
    } catch (error) {
      tell(error.message);
    }
  }

  const actions = {
    accept: () => decide("accept"),
    reject: () => (rejecting === null ? choose([]) : decide("reject", rejecting)),
    later: () => { if (queue[0]) { later.add(queue.shift().triple); show(); } },
    back: async () => {
      if (!last) return;
      await call(`/api/research/adjudication/${last.triple}`, {}, "DELETE");
      queue.unshift(last);
      waiting += 1;
      last = null;
      show();
      tell(say("taken back"));
    },
  };
  REASONS.forEach(([name, text], i) => $(".reasons").append(
    make("button", { type: "button", onclick: () => decide("reject", [name]) }, make("kbd", { textContent: i + 1 }), say(text))));
  root.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
    const act = { a: actions.accept, r: actions.reject, s: actions.later, u: actions.back }[event.key.toLowerCase()];
    if (digit && rejecting !== null) decide("reject", [REASONS[Number(digit[1]) - 1][0]]);
    else if (event.key === "Escape") choose(null);
    else if (event.key.startsWith("Arrow")) canvas.image && canvas.step(event.key === "ArrowRight" ? 1 : -1);
    else if (act) act();
    else return;
    event.preventDefault();
  });
  load().catch((error) => tell(error.message));
};
