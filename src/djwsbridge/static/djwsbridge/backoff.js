// @ts-check

const BASE_MS = 500; // the first retry comes within half a second, so a lost packet is hardly noticed
const CAP_MS = 8_000; // nobody waits longer than this for a server that is back
const REFUSED_CAP_MS = 20_000; // a server that is there and refuses has too much to do already

/** Delays between attempts: full jitter, so that clients cut off together do not come back together. */
export class Backoff {
  /** Delays given since the last reset. */
  #attempts = 0;
  #random;
  #baseMs;
  #capMs;

  /** @param {{random?: () => number, baseMs?: number, capMs?: number}} [options] */
  constructor({ random = Math.random, baseMs = BASE_MS, capMs = CAP_MS } = {}) {
    this.#random = random;
    this.#baseMs = baseMs;
    this.#capMs = capMs;
  }

  /**
   * Give the next delay in milliseconds: a random part of base · 2^attempts, bounded by the cap.
   * @param {{isRefused?: boolean}} [options]  The server was there and said no: then the bound may grow further.
   */
  next({ isRefused = false } = {}) {
    const ceiling = Math.min(isRefused ? REFUSED_CAP_MS : this.#capMs, this.#baseMs * 2 ** this.#attempts);
    this.#attempts += 1;
    return Math.floor(this.#random() * ceiling);
  }

  reset() {
    this.#attempts = 0;
  }
}
