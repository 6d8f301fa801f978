// @ts-check
/** The outbox loses no vote, repeats none that is stored, and keeps their order. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../annotator/pages/annotate/outbox.js";
import { ApiError } from "../../annotator/pages/shared/api.js";

/** @import { Vote } from "../../annotator/pages/annotate/outbox.js" */

/** As `localStorage`. */
class MemoryStorage {
  items = new Map();
  get length() { return this.items.size; }
  /** @param {number} i */
  key(i) { return [...this.items.keys()][i] ?? null; }
  /** @param {string} name */
  getItem(name) { return this.items.get(name) ?? null; }
  /** @param {string} name @param {string} value */
  setItem(name, value) { this.items.set(name, value); }
  /** @param {string} name */
  removeItem(name) { this.items.delete(name); }
  clear() { this.items.clear(); }
}

/** @param {string} key @returns {Vote} */
const vote = (key) => ({ key, batch: "b", triple: 1, decision: "accept", reasons: [], duration_ms: 5, guideline: null });
const answer = { items: [], paused: null, feedback: null };

/**
 * An outbox whose server answers each request with the next of `replies`, then with success.
 * @param {{replies?: (number | Error)[], storage?: MemoryStorage, open?: string[], tab?: string}} options
 */
function start({ replies = [], storage = new MemoryStorage(), open = [], tab = "me" } = {}) {
  /** @type {string[]} */
  const sent = [];
  /** @type {string[]} */
  const saved = [];
  /** @type {string[]} */
  const lost = [];
  /** @type {number[]} */
  const waits = [];
  let time = 0;
  const outbox = new Outbox(tab, {
    async send({ key }) {
      sent.push(key);
      const reply = replies.shift();
      if (reply instanceof Error) throw reply;
      if (reply !== undefined) throw new ApiError("no", reply);
      return answer;
    },
    saved: ({ key }) => saved.push(key),
    lost: ({ key }) => lost.push(key),
    changed() {},
  }, {
    storage: /** @type {any} */ (storage),
    openTabs: async () => new Set(open),
    async sleep(ms) {
      waits.push(ms);
      time += ms;
    },
    now: () => time,
  });
  return { outbox, sent, saved, lost, waits, storage };
}

const offline = new TypeError("Failed to fetch");

test("votes are sent one at a time, in order", async () => {
  const { outbox, saved, storage } = start();
  await Promise.all(["a", "b", "c"].map((key) => outbox.add(vote(key))));
  await outbox.idle();
  assert.deepEqual(saved, ["a", "b", "c"]);
  assert.equal(storage.length, 0);
});

test("an unsent vote is stored before it is sent, and sent after a reload", async () => {
  const { outbox, storage } = start();
  outbox.callbacks.send = () => new Promise(() => {});
  outbox.add(vote("a"));
  outbox.add(vote("b"));
  const reloaded = start({ storage });
  await reloaded.outbox.adopt();
  assert.deepEqual(reloaded.saved, ["a", "b"]);
  assert.equal(storage.length, 0);
});

test("a failed request is repeated with the same key, less and less often", async () => {
  const { outbox, sent, saved, waits } = start({ replies: [...Array(7).fill(offline), 503] });
  await outbox.add(vote("a"));
  assert.deepEqual(saved, ["a"]);
  assert.deepEqual(new Set(sent), new Set(["a"]));
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
});

test("a vote that the server refuses is reported once, and the next one is sent", async () => {
  for (const status of [404, 409, 422]) {
    const { outbox, saved, lost, waits } = start({ replies: [status] });
    await Promise.all([outbox.add(vote("a")), outbox.add(vote("b"))]);
    await outbox.idle();
    assert.deepEqual([lost, saved, waits], [["a"], ["b"], []]);
  }
});

test("trouble is named while it lasts: signed out at once, offline after five seconds", async () => {
  const { outbox } = start({ replies: [401, 401] });
  /** @type {string[]} */
  const troubles = [];
  outbox.callbacks.changed = () => troubles.push(outbox.trouble);
  await outbox.add(vote("a"));
  assert.match(troubles[0] ?? "", /^Signed out/);
  assert.equal(outbox.trouble, "");
  const away = start({ replies: Array(8).fill(offline) });
  /** @type {string[]} */
  const said = [];
  away.outbox.callbacks.changed = () => said.push(away.outbox.trouble);
  await away.outbox.add(vote("a"));
  assert.equal(said[0], "");
  assert.ok(said.some((text) => text === "Offline: 1 unsent, kept in this browser"));
});

test("the votes of closed tabs are taken over, those of open ones are not", async () => {
  const storage = new MemoryStorage();
  storage.setItem("lskd-outbox:closed", JSON.stringify([vote("x"), vote("y")]));
  storage.setItem("lskd-outbox:open", JSON.stringify([vote("z")]));
  storage.setItem("lskd-wage", "15");
  const { outbox, saved } = start({ storage, open: ["open", "me"] });
  await outbox.adopt();
  assert.deepEqual(saved, ["x", "y"]);
  assert.deepEqual([...storage.items.keys()], ["lskd-outbox:open", "lskd-wage"]);
});

test("a vote can be taken back until it is being sent", async () => {
  const { outbox, saved } = start();
  /** @type {(value: typeof answer) => void} */
  let finish = () => {};
  outbox.callbacks.send = () => new Promise((resolve) => { finish = resolve; });
  const first = vote("a"), second = vote("b");
  const done = outbox.add(first);
  outbox.add(second);
  assert.equal(outbox.take(first), false);
  assert.equal(outbox.take(second), true);
  assert.equal(outbox.take(second), false);
  finish(answer);
  await done;
  assert.deepEqual(saved, ["a"]);
});
