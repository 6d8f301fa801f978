// The outbox keeps votes in the browser's storage until the server has stored them; one per tab.
"use strict";
LSKD.tab = async () => {
  const fresh = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join("");
  // A lock held for the life of the tab: a duplicated tab finds that its id is in use.
  const claim = (id) => new Promise((done) => {
    if (!navigator.locks) return done(true);
    navigator.locks.request(`lskd-tab-${id}`, { ifAvailable: true }, (lock) => {
      done(Boolean(lock));
      return lock ? new Promise(() => {}) : null;
    });
  });
  let id = sessionStorage.getItem("lskd-tab") ?? fresh();
  while (!(await claim(id))) id = fresh();
  sessionStorage.setItem("lskd-tab", id);
  return { id, fresh };
};

LSKD.Outbox = class {
  // send(vote) resolves to the server's JSON; saved(vote, answer), lost(vote, error) and changed() are callbacks.
  constructor(tab, { send, saved, lost, changed }) {
    Object.assign(this, { send, saved, lost, changed, trouble: "", sending: false, failed: false, since: 0 });
    this.place = `lskd-outbox:${tab}`;
    this.votes = JSON.parse(localStorage.getItem(this.place) ?? "[]");
    this.adopt();
    addEventListener("online", () => this.flush());
    addEventListener("beforeunload", (event) => { if (this.votes.length) event.preventDefault(); });
  }

  // Takes over the votes of closed tabs. A vote counts once, however often it is sent.
  async adopt() {
    const alive = new Set((await navigator.locks?.query())?.held.map((lock) => lock.name));
    for (const place of Object.keys(localStorage)) {
      if (!place.startsWith("lskd-outbox:") || place === this.place) continue;
      if (alive.has(place.replace("lskd-outbox:", "lskd-tab-"))) continue;
      this.votes.push(...JSON.parse(localStorage.getItem(place) ?? "[]"));
      this.keep();
      localStorage.removeItem(place);
    }
    this.flush();
  }

  keep() {
    if (this.votes.length) localStorage.setItem(this.place, JSON.stringify(this.votes));
    else localStorage.removeItem(this.place);
  }

  add(vote) {
    this.votes.push(vote);
    this.keep();
    return this.flush();
  }

  // Removes a vote that has not been sent; false if the server may have it.
  take(vote) {
    const at = this.votes.indexOf(vote);
    if (at < 0 || (at === 0 && this.sending)) return false;
    this.votes.splice(at, 1);
    this.keep();
    return true;
  }

  async idle() {
    while (this.sending) await new Promise((done) => setTimeout(done, 20));
  }

  // Whether saving takes long enough to be shown.
  get slow() { return this.votes.length > 0 && (this.failed || performance.now() - this.since > 500); }

  async flush() {
    if (this.sending) return;
    this.sending = true;
    let wait = 250;
    this.since = performance.now();
    while (this.votes.length) {
      const vote = this.votes[0];
      try {
        const answer = await this.send(vote);
        this.drop(vote);
        this.trouble = "";
        this.failed = false;
        wait = 250;
        this.saved(vote, answer);
      } catch (error) {
        if ([404, 409, 422].includes(error.status)) {
          this.drop(vote);
          this.lost(vote, error);
        } else {
          this.failed = true;
          if (error.status === 401) this.trouble = LSKD.say("Signed out: sign in again in another tab");
          else if (performance.now() - this.since > 5000) this.trouble = LSKD.say("Offline: {n} unsent, kept in this browser", { n: this.votes.length });
          this.changed();
          await new Promise((done) => setTimeout(done, wait));
          wait = Math.min(wait * 2, 5000);
        }
      }
      this.changed();
    }
    this.sending = false;
    this.changed();
  }

  drop(vote) {
    this.votes.splice(this.votes.indexOf(vote), 1);
    this.keep();
  }
};
