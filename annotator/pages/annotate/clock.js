// @ts-check
/** Active time on a triple: a pause without input counts as a minute at most. No DOM. */

const IDLE_MS = 60_000;

export class ActiveTime {
  #active = 0;
  #last;

  /** @param {() => number} now the time in milliseconds */
  constructor(now) {
    this.now = now;
    this.#last = now();
  }

  /** Start anew, for the next triple. */
  restart() {
    this.#active = 0;
    this.#last = this.now();
  }

  /** Record input of the person. */
  record() {
    const now = this.now();
    this.#active += Math.min(now - this.#last, IDLE_MS);
    this.#last = now;
  }

  /** Milliseconds up to now. */
  read() {
    this.record();
    return this.#active;
  }
}

/**
 * The median of the newest durations, which estimates the time of the next ones; null without any.
 * @param {number[]} durations
 */
export function pace(durations) {
  const recent = durations.slice(-10).sort((a, b) => a - b);
  return recent[Math.floor(recent.length / 2)] ?? null;
}
