// @ts-check

const MAX_HELD = 500; // beyond this, recovery brings them anyway

/**
 * Puts what arrives on one topic into order: every seq once, ascending, and nothing behind a gap until it is filled.
 * @template T
 */
export class TopicLog {
  /** The life of the log that the seqs belong to; empty until the server has said which. */
  epoch;
  /** The last seq given out. */
  #last;
  /** What arrived ahead of a gap, by seq. @type {Map<number, T>} */
  #held = new Map();

  /** @param {{last?: number, epoch?: string}} [options] */
  constructor({ last = 0, epoch = "" } = {}) {
    this.#last = last;
    this.epoch = epoch;
  }

  get last() {
    return this.#last;
  }

  /** Whether something is missing between `last` and what is held back. */
  get hasGap() {
    return this.#held.size > 0;
  }

  /**
   * Take one live item; give what is now in order: nothing for a duplicate or for one behind a gap.
   * @param {number} seq
   * @param {T} item
   * @returns {T[]}
   */
  accept(seq, item) {
    if (seq <= this.#last) return [];
    if (this.#held.size < MAX_HELD || this.#held.has(seq) || seq === this.#last + 1) this.#held.set(seq, item);
    return this.#release();
  }

  /**
   * Take what recovery brought: everything there is directly after `last`, ascending.
   * @param {Array<[number, T]>} items
   * @returns {T[]}
   */
  absorb(items) {
    const ready = [];
    for (const [seq, item] of items) {
      if (seq <= this.#last) continue;
      this.#last = seq;
      this.#held.delete(seq);
      ready.push(item);
    }
    return [...ready, ...this.#skip()];
  }

  /**
   * Go on after a part that cannot be recovered.
   * @param {string} epoch
   * @param {number} seq
   * @returns {T[]} what was held and comes directly after it.
   */
  restart(epoch, seq) {
    this.epoch = epoch;
    this.#last = seq;
    return this.#skip();
  }

  /** Give out what is held, gaps and all: the topic turned out to have no log. @returns {T[]} */
  drain() {
    const items = [...this.#held].sort(([a], [b]) => a - b).map(([, item]) => item);
    this.forget();
    return items;
  }

  /** Drop what is held: the connection that brought it is gone, and the next one recovers it. */
  forget() {
    this.#held.clear();
  }

  /** @returns {T[]} */
  #skip() {
    for (const seq of this.#held.keys()) if (seq <= this.#last) this.#held.delete(seq);
    return this.#release();
  }

  /** @returns {T[]} */
  #release() {
    const ready = [];
    for (let item = this.#held.get(this.#last + 1); item !== undefined; item = this.#held.get(this.#last + 1)) {
      this.#last += 1;
      this.#held.delete(this.#last);
      ready.push(item);
    }
    return ready;
  }
}
