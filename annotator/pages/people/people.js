// The admin's page: who may do what, and how people come in.
"use strict";
LSKD.pages.people = async (root) => {
  const { begin, call, make, say } = LSKD;
  const $ = (selector) => root.querySelector(selector);
  await begin(root);
  const ROLES = ["annotator", "researcher", "admin"];
  const tell = (text) => { $(".told").textContent = text; };
  const day = (ms) => (ms ? new Date(ms).toLocaleDateString() : "–");
  const act = (work) => work.then(load).catch((error) => { tell(error.message); load(false); });

  function table(host, titles, rows) {
    host.replaceChildren(
      make("thead", {}, make("tr", {}, ...titles.map((textContent) => make("th", { scope: "col", textContent: textContent && say(textContent) })))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, ...[cell].flat()))))));
  }

  async function load(quiet = true) {
    const [seen, batches, tokens] = await Promise.all([call("/api/admin/people"), call("/api/batches"), call("/api/research/tokens")]);
    table($(".accounts"), ["name", "role", "may sign in", "votes", "last vote", ""], seen.people.map((p) => [
      p.name, p.simulated || p.name === "local" ? say(p.role) : role(p), p.simulated ? say("simulated") : p.signs_in ? say("with a password") : say("no password"),
      String(p.votes), day(p.last_vote), p.simulated || p.name === "local" ? "" : closing(p),
    ]));
    table($(".invitations"), ["role", "for whom", "by", "used by", "good until"], seen.invitations.map((i) => [say(i.role), i.note, i.by, i.used_by ?? "–", day(i.expires)]));
    $("[name=batch]").replaceChildren(...batches.map((b) => make("option", { textContent: b.name })));
    $(".studies").replaceChildren(...seen.studies.map((study) => one(study, seen.platforms)));
    table($(".tokens"), ["what for", "made", "good until", ""], tokens.map((t) => [t.name, day(t.created), day(t.expires),
      make("button", { type: "button", textContent: say("Revoke"), onclick: () => act(call(`/api/research/tokens/${t.id}`, {}, "DELETE")) })]));
    $("main").hidden = false;
    if (quiet) tell("");
  }

  const change = (p, wish) => act(call(`/api/admin/people/${p.id}`, { role: p.role, active: p.active, ...wish }, "PATCH"));
  function role(p) {
    const select = make("select", { ariaLabel: say("role of {name}", { name: p.name }) }, ...ROLES.map((value) => make("option", { value, textContent: say(value) })));
    select.value = p.role;
    select.addEventListener("change", () => change(p, { role: select.value }));
    return select;
  }
  const closing = (p) => make("button", { type: "button", textContent: p.active ? say("Close") : say("Open again"), onclick: () => change(p, { active: !p.active }) });

  function one(study, platforms) {
    const links = Object.entries(platforms).map(([platform, [worker, about, session]]) => {
      const blanks = platform === "Prolific" ? [worker, about, session].map((name) => `${name}={{%${name}%}}`) : [worker, about, session].map((name) => `${name}=…`);
      return make("details", {}, make("summary", { textContent: platform }), make("code", { textContent: `${location.origin}/join/${study.link}?${blanks.join("&")}` }));
    });
    return make("article", {},
      make("b", { textContent: study.name }), ` · ${study.batch} · ${say("{quota} each · {came} came, {finished} finished · code", study)} ${study.code} `,
      make("button", { type: "button", class: "plain", textContent: study.open ? say("Close") : say("Open again"), onclick: () => act(call(`/api/admin/studies/${study.id}`, { open: !study.open }, "PATCH")) }),
      ...links);
  }

  const submit = (form, send) => $(form).addEventListener("submit", (event) => {
    event.preventDefault();
    act(send(Object.fromEntries(new FormData(event.target))).then(() => event.target.reset()));
  });
  submit("form.invite", async (wish) => {
    const { path } = await call("/api/admin/invitations", wish);
    $(".link").replaceChildren(say("Send this link; it works once, for a week:"), make("code", { textContent: location.origin + path }));
  });
  submit("form.study", (wish) => call("/api/admin/studies", wish));
  submit("form.token", async (wish) => {
    const { token } = await call("/api/research/tokens", wish);
    $(".secret").replaceChildren(say("Copy it now; it is not shown again:"), make("code", { textContent: token }));
  });
  load().catch((error) => tell(error.message));
};
