// @ts-check
/** The id of this browser tab, which holds leases and an outbox of its own. */

const LOCK = "lskd-tab-";

/** A random id. */
export function fresh() {
  // Without HTTPS, browsers have no randomUUID except on localhost.
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** The id of this tab: it survives a reload, and a duplicated tab gets another one. */
export async function claimTab() {
  let id = sessionStorage.getItem("lskd-tab") ?? fresh();
  while (!(await claim(id))) id = fresh();
  sessionStorage.setItem("lskd-tab", id);
  return id;
}

/** The ids of all open tabs. */
export async function openTabs() {
  const locks = await navigator.locks?.query();
  return new Set(locks?.held?.map((lock) => lock.name?.replace(LOCK, "") ?? ""));
}

/**
 * Hold a lock for the life of the tab; false if another tab holds it.
 * @param {string} id
 * @returns {Promise<boolean>}
 */
function claim(id) {
  return new Promise((resolve) => {
    if (!navigator.locks) return resolve(true);
    navigator.locks.request(LOCK + id, { ifAvailable: true }, (lock) => {
      resolve(Boolean(lock));
      return lock ? new Promise(() => {}) : null;
    });
  });
}
