// The page of accounts, invitations, studies and API tokens.
"use strict";
LSKD.pages.people = async (root) => {
  const { begin, call, make, say } = LSKD;
  const $ = (selector) => root.querySelector(selector);
  await begin(root);
  const ROLES = ["annotator", "researcher", "admin"];
  const showMessage = (text) => { $(".message").textContent = text; };
  const day = (ms) => (ms ? new Date(ms).toLocaleDateString() : "–");
  const act = (work) => work.then(load).catch((error) => { showMessage(error.message); load(false); });

  function table(host, titles, rows) {
    host.replaceChildren(
      make("thead", {}, make("tr", {}, ...titles.map((textContent) => make("th", { scope: "col", textContent: textContent && say(textContent) })))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, ...[cell].flat()))))));
  }

  async function load(quiet = true) {
    const [people, batches, tokens] = await Promise.all([call("/api/admin/people"), call("/api/batches"), call("/api/research/tokens")]);
    table($(".accounts"), ["Name", "Role", "Sign-in", "Votes", "Last vote", ""], people.people.map((p) => [
      p.name, p.simulated || p.name === "local" ? say(p.role) : roleSelect(p), p.simulated ? say("simulated") : p.signs_in ? say("password set") : say("no password set"),
      String(p.votes), day(p.last_vote), p.simulated || p.name === "local" ? "" : closeButton(p),
    ]));
    table($(".invitations"), ["Role", "Recipient", "Created by", "Used by", "Expires"], people.invitations.map((i) => [say(i.role), i.note, i.by, i.used_by ?? "–", day(i.expires)]));
    $("[name=batch]").replaceChildren(...batches.map((b) => make("option", { textContent: b.name })));
    $(".studies").replaceChildren(...people.studies.map((study) => studyRow(study, people.platforms)));
    table($(".tokens"), ["Purpose", "Created", "Expires", ""], tokens.map((t) => [t.name, day(t.created), day(t.expires),
      make("button", { type: "button", textContent: say("Revoke"), onclick: () => act(call(`/api/research/tokens/${t.id}`, {}, "DELETE")) })]));
    $("main").hidden = false;
    if (quiet) showMessage("");
  }

  const change = (p, fields) => act(call(`/api/admin/people/${p.id}`, { role: p.role, active: p.active, ...fields }, "PATCH"));
  function roleSelect(p) {
    const select = make("select", { ariaLabel: say("role of {name}", { name: p.name }) }, ...ROLES.map((value) => make("option", { value, textContent: say(value) })));
    select.value = p.role;
    select.addEventListener("change", () => change(p, { role: select.value }));
    return select;
  }
  const closeButton = (p) => make("button", { type: "button", textContent: p.active ? say("Close") : say("Reopen"), onclick: () => change(p, { active: !p.active }) });

  function studyRow(study, platforms) {
    const links = Object.entries(platforms).map(([platform, [worker, about, session]]) => {
      const blanks = platform === "Prolific" ? [worker, about, session].map((name) => `${name}={{%${name}%}}`) : [worker, about, session].map((name) => `${name}=…`);
      return make("details", {}, make("summary", { textContent: say(platform) }), make("code", { textContent: `${location.origin}/join/${study.link}?${blanks.join("&")}` }));
    });
    return make("article", {},
      make("b", { textContent: study.name }), ` · ${study.batch} · ${say("{quota} per worker · {came} joined, {finished} finished · code", study)} ${study.code} `,
      make("button", { type: "button", class: "plain", textContent: study.open ? say("Close") : say("Reopen"), onclick: () => act(call(`/api/admin/studies/${study.id}`, { open: !study.open }, "PATCH")) }),
      ...links);
  }

  const submit = (form, send) => $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    act(send(Object.fromEntries(new FormData(event.target))).then(() => event.target.reset()));
  });
  submit("form.invite", async (fields) => {
    const { path } = await call("/api/admin/invitations", fields);
    $(".link").replaceChildren(say("Send this link. It works once and expires after a week:"), make("code", { textContent: location.origin + path }));
  });
  submit("form.study", (fields) => call("/api/admin/studies", fields));
  submit("form.token", async (fields) => {
    const { token } = await call("/api/research/tokens", fields);
    $(".secret").replaceChildren(say("Copy this token now. It will not be shown again:"), make("code", { textContent: token }));
  });
  load().catch((error) => showMessage(error.message));
};
