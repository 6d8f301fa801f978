// @ts-check
/** The page of accounts, invitations, studies and API tokens. */

import { call } from "../shared/api.js";
import { finder, make, messageOf, onSubmit } from "../shared/dom.js";
import { say } from "../shared/language.js";
import { begin } from "../shared/session.js";
import { fillTable } from "../shared/tables.js";
import { ROOT } from "../shared/urls.js";
import { studyCard } from "./studies.js";

/** @import { AccountRow, BatchProgress, InvitationOut, PeopleOut, ResetOut, StudyRow, TokenOut, TokenRow } from "../shared/payloads.d.ts" */

const ROLES = ["annotator", "researcher", "admin"];

/** @param {HTMLElement} root */
export async function open(root) {
  const $ = finder(root);
  await begin(root);

  /** @param {string} text */
  const showMessage = (text) => { $(".message").textContent = text; };

  /**
   * Load everything again after a change; its error stays on the page.
   * @param {Promise<unknown>} work
   */
  async function act(work) {
    let message = "";
    try {
      await work;
    } catch (error) {
      message = messageOf(error);
    }
    await load().catch((error) => { message ||= messageOf(error); });
    showMessage(message);
  }

  async function load() {
    /** @type {[PeopleOut, BatchProgress[], TokenRow[]]} */
    const [{ people, invitations, studies, platforms }, batches, tokens] = await Promise.all([
      call("/api/admin/people"), call("/api/batches"), call("/api/research/tokens"),
    ]);
    fillTable($("table.accounts", HTMLTableElement), ["Name", "Role", "Sign-in", "Votes", "Last vote", ""], people.map(accountRow));
    fillTable($("table.invitations", HTMLTableElement), ["Role", "Recipient", "Created by", "Used by", "Expires"], invitations.map(
      ({ role, note, by, used_by: usedBy, expires }) => [say(role), note, by, usedBy, day(expires)]));
    $("[name=batch]").replaceChildren(...batches.map(({ name }) => make("option", { textContent: name })));
    showStudies(studies, platforms);
    fillTable($("table.tokens", HTMLTableElement), ["Purpose", "Created", "Expires", ""], tokens.map(tokenRow));
    $("main").hidden = false;
  }

  /**
   * @param {StudyRow[]} studies
   * @param {PeopleOut["platforms"]} platforms
   */
  function showStudies(studies, platforms) {
    const workersOf = () => [...root.querySelectorAll("details.workers")].filter((details) => details instanceof HTMLDetailsElement);
    const opened = new Set(workersOf().filter((details) => details.open).map((details) => details.dataset.study));
    $(".studies").replaceChildren(...studies.map((study) => studyCard(study, platforms, act)));
    for (const details of workersOf()) details.open = opened.has(details.dataset.study);
  }

  /** @param {AccountRow} person */
  function accountRow(person) {
    const { id, name, role, active, signs_in: signsIn, simulated, votes, last_vote: lastVote } = person;
    const isFixed = simulated || name === "local";
    const signIn = simulated ? say("simulated") : signsIn ? say("password set") : say("no password set");
    const actions = make("span", { className: "row" },
      ...(signsIn ? [button(say("Reset password"), () => resetPassword(person)), button(say("Sign out"), () => call(`/api/admin/people/${id}/sign-out-everywhere`, {}))] : []),
      button(active ? say("Close") : say("Reopen"), () => change(person, { active: !active })));
    return [name, isFixed ? say(role) : roleSelect(person), signIn, votes, day(lastVote), isFixed ? "" : actions];
  }

  /** @param {AccountRow} person */
  async function resetPassword({ id, name }) {
    /** @type {ResetOut} */
    const { path } = await call(`/api/admin/people/${id}/password-reset`, {});
    $(".reset").replaceChildren(say("Send this link to {name}. It works once, for 24 hours, and ends all other sessions:", { name }), make("code", { textContent: location.origin + ROOT + path }));
  }

  /** @param {TokenRow} token */
  function tokenRow({ id, name, created, expires }) {
    return [name, day(created), day(expires), button(say("Revoke"), () => call(`/api/research/tokens/${id}`, {}, "DELETE"))];
  }

  /**
   * @param {AccountRow} person
   * @param {{role?: string, active?: boolean}} fields
   */
  const change = ({ id, role, active }, fields) => call(`/api/admin/people/${id}`, { role, active, ...fields }, "PATCH");

  /** @param {AccountRow} person */
  function roleSelect(person) {
    const select = make("select", { ariaLabel: say("role of {name}", { name: person.name }) },
      ...ROLES.map((value) => make("option", { value, textContent: say(value), selected: value === person.role })));
    select.addEventListener("change", () => act(change(person, { role: select.value })));
    return select;
  }

  /**
   * @param {string} text
   * @param {() => Promise<unknown>} send
   */
  function button(text, send) {
    return make("button", { type: "button", textContent: text, onclick: () => act(send()) });
  }

  /**
   * @param {string} selector
   * @param {(fields: Record<string, string>) => Promise<unknown>} send
   */
  function addForm(selector, send) {
    const form = $(selector, HTMLFormElement);
    onSubmit(form, (fields) => act(send(fields).then(() => form.reset())));
  }

  addForm("form.invite", async (fields) => {
    /** @type {InvitationOut} */
    const { path } = await call("/api/admin/invitations", fields);
    $(".link").replaceChildren(say("Send this link. It works once and expires after a week:"), make("code", { textContent: location.origin + ROOT + path }));
  });
  addForm("form.study", ({ signed, max_workers: maxWorkers, ...fields }) => call("/api/admin/studies", {
    ...fields, signed: Boolean(signed), max_workers: maxWorkers ? Number(maxWorkers) : null,
  }));
  addForm("form.token", async (fields) => {
    /** @type {TokenOut} */
    const { token } = await call("/api/research/tokens", fields);
    $(".secret").replaceChildren(say("Copy this token now. It will not be shown again:"), make("code", { textContent: token }));
  });
  load().catch((error) => showMessage(messageOf(error)));
}

/** @param {number | null} ms */
const day = (ms) => (ms ? new Date(ms).toLocaleDateString() : "–");
