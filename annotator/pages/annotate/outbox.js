// @ts-check
/**
 * The outbox keeps votes in the browser's storage until the server has stored them; one per tab.
 *
 * Votes are sent one at a time in order. A vote counts once, however often it is sent: it has a key.
 */

import { ApiError } from "../shared/api.js";
import { say } from "../shared/language.js";

/** @import { Decision } from "../shared/decisions.js" */
/** @import { NextItems, Reason } from "../shared/payloads.d.ts" */
/**
 * @typedef {{key: string, batch: string, triple: number, decision: Decision, reasons: Reason[],
 *   duration_ms: number, guideline: number | null}} Vote
 * @typedef {{
 *   send: (vote: Vote) => Promise<NextItems>,
 *   saved: (vote: Vote, answer: NextItems) => void,
 *   lost: (vote: Vote, error: ApiError) => void,
 *   changed: () => void,
 * }} Callbacks `send` stores a vote, `lost` is for one that the server refuses.
 * @typedef {{
 *   storage: Storage,
 *   openTabs: () => Promise<Set<string>>,
 *   sleep: (ms: number) => Promise<void>,
 *   now: () => number,
 * }} Browser
 */

const PREFIX = "lskd-outbox:";
const REFUSED = [404, 409, 422];
const FIRST_WAIT_MS = 250, MAX_WAIT_MS = 5000;
const SLOW_MS = 500, OFFLINE_MS = 5000;

export class Outbox {
  /** Why votes cannot be sent, for people; empty while they can. */
  trouble = "";
  sending = false;
  #failed = false;
  #since = 0;

  /**
   * @param {string} tab
   * @param {Callbacks} callbacks
   * @param {Browser} browser
   */
  constructor(tab, callbacks, browser) {
    this.place = PREFIX + tab;
    this.callbacks = callbacks;
    this.browser = browser;
    this.votes = this.#read(this.place);
  }

  /** Takes over the votes of tabs that were closed, and sends all. */
  async adopt() {
    const { storage, openTabs } = this.browser;
    const open = await openTabs();
    for (const place of stored(storage)) {
      if (place === this.place || open.has(place.slice(PREFIX.length))) continue;
      this.votes.push(...this.#read(place));
      this.#keep();
      storage.removeItem(place);
    }
    await this.flush();
  }

  /** @param {Vote} vote */
  add(vote) {
    this.votes.push(vote);
    this.#keep();
    return this.flush();
  }

  /**
   * Remove a vote that has not been sent; false if the server may have it.
   * @param {Vote} vote
   */
  take(vote) {
    const at = this.votes.indexOf(vote);
    if (at < 0 || (at === 0 && this.sending)) return false;
    this.#drop(vote);
    return true;
  }

  /** Resolves when nothing is being sent. */
  async idle() {
    while (this.sending) await this.browser.sleep(20);
  }

  /** Whether saving takes long enough to be shown. */
  get slow() {
    return this.votes.length > 0 && (this.#failed || this.browser.now() - this.#since > SLOW_MS);
  }

  /** Sends all votes; those that cannot be sent are tried again, less and less often. */
  async flush() {
    if (this.sending) return;
    this.sending = true;
    this.#since = this.browser.now();
    try {
      await this.#submitAll();
    } finally {
      this.sending = false;
      this.callbacks.changed();
    }
  }

  async #submitAll() {
    let wait = FIRST_WAIT_MS;
    for (let vote = this.votes[0]; vote; vote = this.votes[0]) {
      if (await this.#submit(vote)) {
        wait = FIRST_WAIT_MS;
      } else {
        this.callbacks.changed();
        await this.browser.sleep(wait);
        wait = Math.min(wait * 2, MAX_WAIT_MS);
      }
      this.callbacks.changed();
    }
  }

  /**
   * Send a vote; false if it has to be tried again.
   * @param {Vote} vote
   */
  async #submit(vote) {
    let answer;
    try {
      answer = await this.callbacks.send(vote);
    } catch (error) {
      if (error instanceof ApiError && REFUSED.includes(error.status)) {
        this.#drop(vote);
        this.callbacks.lost(vote, error);
        return true;
      }
      this.#failed = true;
      if (error instanceof ApiError && error.status === 401) this.trouble = say("Signed out: sign in again in another tab");
      else if (this.browser.now() - this.#since > OFFLINE_MS) this.trouble = say("Offline: {n} unsent, kept in this browser", { n: this.votes.length });
      return false;
    }
    this.#drop(vote);
    this.trouble = "";
    this.#failed = false;
    this.callbacks.saved(vote, answer);
    return true;
  }

  /** @param {Vote} vote */
  #drop(vote) {
    this.votes = this.votes.filter((other) => other !== vote);
    this.#keep();
  }

  #keep() {
    if (this.votes.length) this.browser.storage.setItem(this.place, JSON.stringify(this.votes));
    else this.browser.storage.removeItem(this.place);
  }

  /**
   * @param {string} place
   * @returns {Vote[]}
   */
  #read(place) {
    return JSON.parse(this.browser.storage.getItem(place) ?? "[]");
  }
}

/**
 * The places of all outboxes in the storage.
 * @param {Storage} storage
 */
function stored(storage) {
  const places = Array.from({ length: storage.length }, (_, i) => storage.key(i) ?? "");
  return places.filter((place) => place.startsWith(PREFIX));
}
