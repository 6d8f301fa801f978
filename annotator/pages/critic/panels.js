// Panels of the critic page: groups, certified threshold, labels to collect, training, comparison, releases.
"use strict";
LSKD.panels = (root, page) => {
  const { make, say } = LSKD;
  const { ask, two, range, showMessage, busy } = page;
  const $ = (selector) => root.querySelector(selector);
  const PURPOSES = { estimate: "To estimate precision (test images)", guarantee: "To certify a threshold (calibration images)" };
  const dialog = $("dialog.release");
  let certificate = null, releasing = null;

  const cell = (value) => make("td", {}, ...(value instanceof Node ? [value] : [String(value ?? "–")]));
  const rows = (table, titles, lines) => table.replaceChildren(
    make("tr", {}, ...titles.map((title) => make("th", { scope: "col", textContent: say(title) }))),
    ...lines.map((line) => make("tr", {}, ...line.map(cell))));
  const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`);

  // ---- what follows the threshold
  async function showSlices() {
    const { critic, threshold } = page.current();
    const dimension = $(".dimension").value;
    const lines = await ask("slices", { run: critic.name, threshold, dimension });
    const head = ["Group", "Labelled", "Acceptance rate", "Precision", "Recall", "Share of all", "Share of kept"];
    rows($(".slices"), head, lines.map((line) => [
      line.value, line.labelled_triples, two(line.acceptance_rate), `${two(line.precision.value)} ${range(line.precision)}`,
      two(line.recall), share(line.share_of_all), share(line.share_of_kept),
    ]));
  }

  async function showForecasts() {
    const { critic, threshold } = page.current();
    const size = Number($(".size").value) || 1;
    const options = await ask("labeling_options", { run: critic.name, threshold, size });
    $(".next").dataset.threshold = threshold;
    $(".next").replaceChildren(...Object.entries(PURPOSES).map(([purpose, title]) => {
      const { forecast, width_after: after } = options[purpose];
      const { available, labelled_triples: labelled, interval_width: width } = forecast;
      const count = Math.min(size, available);
      const now = width === null ? say("{n} labelled: too few for an interval", { n: labelled })
        : !count ? say("{n} labelled: precision ± {width}", { n: labelled, width: two(width / 2) })
        : say("{n} labelled: precision ± {width}, about ± {after} with {more} more", { n: labelled, width: two(width / 2), more: count, after: two(after / 2) });
      const send = make("button", { type: "button", disabled: !available, textContent: say("Send {n} to annotators", { n: count }), onclick: (e) => busy(e.target, say("Sending…"), async () => {
        const sent = await ask("create_batch", { run: critic.name, threshold, purpose, size });
        await showForecasts();
        showMessage(say("Sent {n} triples to annotators in the batch {batch}.", { n: sent.triples, batch: sent.batch }));
      }) });
      return make("div", { class: "purpose" }, make("b", { textContent: say(title) }), make("p", { class: "quiet", textContent: `${now} · ${say("{n} unlabelled triples available", { n: available })}` }), send);
    }));
  }

  // ---- certified threshold
  function describeCertificate(answer) {
    certificate = answer;
    const { target, threshold, measured_precision: measured, kept_share: kept, labelled_triples: labelled, images, labels_needed: needed } = answer;
    $("[data-do='release-certified']").hidden = threshold === null;
    if (threshold !== null) {
      page.move(threshold);
      return say("Threshold {t} reaches a precision of at least {target} (measured {measured} on {n} calibration triples from {images} images). It keeps {share} of all triples.", { t: threshold.toFixed(3), target, measured: two(measured), n: labelled, images, share: share(kept) });
    }
    if (needed) return say("No threshold can be certified yet; label about {n} more triples.", { n: needed });
    return say("No threshold can be certified, and more labels would not help: improve the critic or lower the minimum precision.");
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

  function showRetraining(status) {
    const text = !status?.every ? say("Automatic training is off.")
      : say("Retrains after every {every} new votes; {votes} since the last training.", status);
    $(".retraining").textContent = status?.error ? `${text} ${status.error}` : text;
    $("[data-do='retrain-off']").hidden = !status?.every;
  }

  // ---- critics and releases
  async function compare() {
    const { columns, rows: critics } = await ask("compare");
    const text = (value) => {
      if (value?.value !== undefined) return value.value === null ? null : `${value.value.toFixed(3)} ${range(value)}`.trim();
      if (typeof value === "string") return say(value); // the random choice has no name of its own
      return typeof value !== "number" || Number.isInteger(value) ? value : value.toFixed(3);
    };
    rows($(".compared"), columns.map((column) => column.title), critics.map((critic) => columns.map((column) => text(critic[column.value]))));
  }

  function showReleases(list) {
    $(".releases").hidden = !list.length;
    $("[data-do='compare-releases']").hidden = list.length < 2;
    const head = ["Compare", "Name", "Kept", "Threshold", "Precision", "Critic", "Note", "Data card"];
    rows($(".releases table"), head, list.map((release) => [
      make("input", { type: "checkbox", value: release.name, "aria-label": release.name }),
      make("span", { class: release.simulated ? "alarm" : "", textContent: release.simulated ? `${release.name} · ${say("simulated votes")}` : release.name }),
      release.kept.toLocaleString("en"), two(release.threshold), `${two(release.precision.value)} ${range(release.precision)}`, release.critic, release.note,
      make("button", { type: "button", class: "plain", textContent: say("Show"), onclick: async () => {
        $("dialog.card-text pre").textContent = (await ask("card", { name: release.name })).text;
        $("dialog.card-text").showModal();
      } }),
    ]));
  }

  async function compareReleases() {
    const names = [...root.querySelectorAll(".releases input:checked")].map((box) => box.value);
    if (names.length !== 2) return showMessage(say("Select two releases to compare."));
    const comparison = await ask("compare_releases", { first: names[0], second: names[1] });
    const sides = [comparison.only_first, comparison.only_second];
    $(".release-comparison").replaceChildren(
      make("p", { textContent: say("kept by both: {n}", { n: comparison.kept_by_both.toLocaleString("en") }) }),
      ...sides.map((side) => make("p", { textContent: say("kept by {release} only: {n}", { release: side.release, n: side.triples.toLocaleString("en") }) })),
      ...sides.flatMap((side) => side.examples.map((text) => make("p", { class: "quiet", textContent: `${side.release}: ${text}` }))));
  }

  function openRelease(what, certified) {
    const { critic } = page.current();
    releasing = certified ?? null;
    dialog.querySelector(".what").textContent = what;
    dialog.querySelector(".note").hidden = !critic.simulated;
    dialog.querySelector(".limits").hidden = Boolean(certified);
    dialog.querySelector(".alarm").textContent = "";
    dialog.showModal();
  }

  async function createRelease(form) {
    const { critic, threshold } = page.current();
    const fields = Object.fromEntries(new FormData(form));
    const name = fields.name.trim(), note = fields.note.trim(), run = critic.name, { simulated } = critic;
    try {
      const limits = Object.fromEntries(["top", "per_image", "per_kind"].map((limit) => [limit, releasing ? 0 : Number(fields[limit]) || 0]));
      const how = releasing ? { precision: releasing.target, confidence: releasing.confidence } : { threshold };
      await ask("release", { run, name, note, limits, simulated, ...how });
      dialog.close();
      form.reset();
      await page.load();
      $(".message").replaceChildren(`${say("Released as {name}.", { name })} `, make("a", { href: "/demo/", textContent: say("Train a student on this release") }));
    } catch (error) {
      dialog.querySelector(".alarm").textContent = error.message;
    }
  }

  // ---- wiring
  const showError = (error) => showMessage(error.message);
  $(".dimension").addEventListener("change", () => showSlices().catch(showError));
  $(".size").addEventListener("change", () => showForecasts().catch(showError));
  $("form.certify").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { target, confidence } = Object.fromEntries(new FormData(event.target));
    try {
      $(".certified").textContent = describeCertificate(await ask("certify", { run: page.current().critic.name, target: Number(target), confidence: Number(confidence) }));
    } catch (error) {
      $(".certified").textContent = error.message;
    }
  });
  $("form.retrain").addEventListener("submit", (event) => {
    event.preventDefault();
    const every = Number(new FormData(event.target).get("every"));
    ask("retrain", { every, kind: $(".kind").value, simulated: page.current().critic.simulated }).then(showRetraining).catch(showError);
  });
  dialog.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); createRelease(event.target); });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    const action = button?.dataset.do;
    const { critic } = page.current();
    if (action === "train") train(button, $(".kind").value, critic.simulated);
    if (action === "retrain-off") ask("retrain", { every: 0, kind: "baseline", simulated: false }).then(showRetraining).catch(showError);
    if (action === "compare") busy(button, say("Comparing…"), compare);
    if (action === "compare-releases") compareReleases().catch(showError);
    if (action === "close") button.closest("dialog").close();
    if (action === "release-certified") openRelease(say("Triples scored {t} or higher by {critic}. Certified precision: at least {target}.", { t: certificate.threshold.toFixed(3), critic: critic.name, target: certificate.target }), certificate);
  });

  return {
    train,
    release: openRelease,
    follow: async () => { await showSlices(); await showForecasts(); },
    show(overview, critic, curve) {
      const chosen = $(".dimension").value;
      $(".dimension").replaceChildren(...curve.dimensions.map(({ value, title }) => make("option", { value, textContent: say(title), selected: value === chosen })));
      $(".calibration").replaceChildren(LSKD.plots.calibration(curve.calibration));
      $(".history").replaceChildren(LSKD.plots.history(overview.history));
      $(".certified").textContent = "";
      $("[data-do='release-certified']").hidden = true;
      showRetraining(overview.retraining);
      showReleases(overview.releases);
    },
  };
};
