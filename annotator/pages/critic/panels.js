// What stands around the curve: slices, a promise, the votes to come, training, critics, releases.
"use strict";
LSKD.panels = (root, page) => {
  const { make, say } = LSKD;
  const { ask, two, range, tell, busy } = page;
  const $ = (selector) => root.querySelector(selector);
  const PURPOSES = { estimate: "the estimate, on test images", guarantee: "the promise, on calibration images" };
  const dialog = $("dialog.release");
  let found = null, releasing = null;

  const cell = (value) => make("td", {}, ...(value instanceof Node ? [value] : [String(value ?? "–")]));
  const rows = (table, titles, lines) => table.replaceChildren(
    make("tr", {}, ...titles.map((title) => make("th", { scope: "col", textContent: say(title) }))),
    ...lines.map((line) => make("tr", {}, ...line.map(cell))));
  const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);

  // ---- what follows the threshold
  async function slices() {
    const { critic, threshold } = page.current();
    const dimension = $(".dimension").value;
    const lines = await ask("slices", { run: critic.name, threshold, dimension });
    const head = ["kind of triples", "labelled", "acceptable", "precision", "recall", "of all", "of the kept"];
    rows($(".slices"), head, lines.map((line) => [
      line.value, line.labelled_triples, two(line.acceptance_rate), `${two(line.precision.value)} ${range(line.precision)}`,
      two(line.recall), share(line.share_of_all), share(line.share_of_kept),
    ]));
  }

  async function next() {
    const { critic, threshold } = page.current();
    const size = Number($(".size").value) || 1;
    const options = await ask("labeling_options", { run: critic.name, threshold, size });
    $(".next").dataset.threshold = threshold;
    $(".next").replaceChildren(...Object.entries(PURPOSES).map(([purpose, words]) => {
      const { forecast, width_after: after } = options[purpose];
      const { available, labelled_triples: labelled, interval_width: width } = forecast;
      const count = Math.min(size, available);
      const now = width === null ? say("{n} labelled: too few to say how sure it is", { n: labelled })
        : !count ? say("{n} labelled: precision is known within {width}", { n: labelled, width: two(width) })
        : say("{n} labelled: precision is known within {width}; with {more} more within about {after}", { n: labelled, width: two(width), more: count, after: two(after) });
      const send = make("button", { type: "button", disabled: !available, textContent: say("Send {n} to annotators", { n: count }), onclick: (e) => busy(e.target, say("Sending…"), async () => {
        const sent = await ask("create_batch", { run: critic.name, threshold, purpose, size });
        await next();
        tell(say("{n} triples are in the batch {batch}.", { n: sent.triples, batch: sent.batch }));
      }) });
      return make("div", { class: "purpose" }, make("b", { textContent: say(words) }), make("p", { class: "quiet", textContent: `${now} · ${say("{n} wait", { n: available })}` }), send);
    }));
  }

  // ---- a promise
  function promised(answer) {
    found = answer;
    const { target, threshold, measured_precision: measured, kept_share: kept, labelled_triples: labelled, images, labels_needed: needed } = answer;
    $("[data-do='release-promised']").hidden = threshold === null;
    if (threshold !== null) {
      page.move(threshold);
      return say("From {t} on, precision is above {target}: {measured} on {n} calibration triples of {images} images. It keeps {share}.", { t: threshold.toFixed(3), target, measured: two(measured), n: labelled, images, share: share(kept) });
    }
    if (needed) return say("No threshold qualifies. About {n} more labelled triples would do.", { n: needed });
    return say("No threshold qualifies, and more votes would not help: train a better critic, or promise less.");
  }

  // ---- training
  async function train(button, kind, simulated) {
    await busy(button, say("Training…"), async () => {
      let state = await ask("train", { kind, simulated });
      while (state.is_running) {
        await new Promise((done) => setTimeout(done, 500));
        state = await ask("training_state");
      }
      if (state.error) throw new Error(state.error);
      await page.load(state.run);
    });
  }

  function retraining(standing) {
    const words = !standing?.every ? say("Nothing is trained by itself.")
      : say("Trained anew after every {every} votes; {votes} have come since.", standing);
    $(".retraining").textContent = standing?.error ? `${words} ${standing.error}` : words;
    $("[data-do='retrain-end']").hidden = !standing?.every;
  }

  // ---- critics and releases
  async function compare() {
    const { columns, rows: critics } = await ask("compare");
    const text = (value) => {
      if (value?.value !== undefined) return value.value === null ? null : `${value.value.toFixed(3)} ${range(value)}`.trim();
      return typeof value !== "number" || Number.isInteger(value) ? value : value.toFixed(3);
    };
    rows($(".compared"), columns.map((column) => column.title), critics.map((critic) => columns.map((column) => text(critic[column.value]))));
  }

  function releases(list) {
    $(".releases").hidden = !list.length;
    $("[data-do='differ']").hidden = list.length < 2;
    const head = ["two to compare", "name", "kept", "threshold", "precision", "critic", "why", "data card"];
    rows($(".releases table"), head, list.map((one) => [
      make("input", { type: "checkbox", value: one.name, "aria-label": one.name }),
      make("span", { class: one.simulated ? "alarm" : "", textContent: one.simulated ? `${one.name} · ${say("simulated votes")}` : one.name }),
      one.kept.toLocaleString("en"), two(one.threshold), `${two(one.precision.value)} ${range(one.precision)}`, one.critic, one.note,
      make("button", { type: "button", class: "plain", textContent: say("Card"), onclick: async () => {
        $("dialog.card-text pre").textContent = (await ask("card", { name: one.name })).text;
        $("dialog.card-text").showModal();
      } }),
    ]));
  }

  async function differ() {
    const names = [...root.querySelectorAll(".releases input:checked")].map((box) => box.value);
    if (names.length !== 2) return tell(say("Choose two releases."));
    const found = await ask("compare_releases", { first: names[0], second: names[1] });
    const sides = [found.only_first, found.only_second];
    $(".differ").replaceChildren(
      make("p", { textContent: say("kept by both: {n}", { n: found.kept_by_both.toLocaleString("en") }) }),
      ...sides.map((side) => make("p", { textContent: say("kept by {release} only: {n}", { release: side.release, n: side.triples.toLocaleString("en") }) })),
      ...sides.flatMap((side) => side.examples.map((text) => make("p", { class: "quiet", textContent: `${side.release}: ${text}` }))));
  }

  function release(what, promise) {
    const { critic } = page.current();
    releasing = promise ?? null;
    dialog.querySelector(".what").textContent = what;
    dialog.querySelector(".note").hidden = !critic.simulated;
    dialog.querySelector(".limits").hidden = Boolean(promise);
    dialog.querySelector(".alarm").textContent = "";
    dialog.showModal();
  }

  async function freeze(form) {
    const { critic, threshold } = page.current();
    const said = Object.fromEntries(new FormData(form));
    const name = said.name.trim(), note = said.note.trim(), run = critic.name, { simulated } = critic;
    try {
      const limits = Object.fromEntries(["top", "per_image", "per_kind"].map((limit) => [limit, releasing ? 0 : Number(said[limit]) || 0]));
      const how = releasing ? { precision: releasing.target, confidence: releasing.confidence } : { threshold };
      await ask("release", { run, name, note, limits, simulated, ...how });
      dialog.close();
      form.reset();
      await page.load();
      $(".told").replaceChildren(`${say("Released as {name}.", { name })} `, make("a", { href: "/demo/", textContent: say("Train a student on it") }));
    } catch (error) {
      dialog.querySelector(".alarm").textContent = error.message;
    }
  }

  // ---- wiring
  const failed = (error) => tell(error.message);
  $(".dimension").addEventListener("change", () => slices().catch(failed));
  $(".size").addEventListener("change", () => next().catch(failed));
  $("form.promise").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { target, confidence } = Object.fromEntries(new FormData(event.target));
    try {
      $(".promised").textContent = promised(await ask("certify", { run: page.current().critic.name, target: Number(target), confidence: Number(confidence) }));
    } catch (error) {
      $(".promised").textContent = error.message;
    }
  });
  $("form.retrain").addEventListener("submit", (event) => {
    event.preventDefault();
    const every = Number(new FormData(event.target).get("every"));
    ask("retrain", { every, kind: $(".kind").value, simulated: page.current().critic.simulated }).then(retraining).catch(failed);
  });
  dialog.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); freeze(event.target); });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    const action = button?.dataset.do;
    const { critic } = page.current();
    if (action === "train") train(button, $(".kind").value, critic.simulated);
    if (action === "retrain-end") ask("retrain", { every: 0, kind: "baseline", simulated: false }).then(retraining).catch(failed);
    if (action === "compare") busy(button, say("Comparing…"), compare);
    if (action === "differ") differ().catch(failed);
    if (action === "close") button.closest("dialog").close();
    if (action === "release-promised") release(say("What scores {t} or more, by {critic}: precision above {target} is certified.", { t: found.threshold.toFixed(3), critic: critic.name, target: found.target }), found);
  });

  return {
    train,
    release,
    follow: async () => { await slices(); await next(); },
    show(seen, critic, curve) {
      const chosen = $(".dimension").value;
      $(".dimension").replaceChildren(...curve.dimensions.map(({ value, title }) => make("option", { value, textContent: say(title), selected: value === chosen })));
      $(".calibration").replaceChildren(LSKD.plots.calibration(curve.calibration));
      $(".history").replaceChildren(LSKD.plots.history(seen.history));
      $(".promised").textContent = "";
      $("[data-do='release-promised']").hidden = true;
      retraining(seen.retraining);
      releases(seen.releases);
    },
  };
};
