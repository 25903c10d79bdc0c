/** A clock that moves only when told, and runs what falls due in order. */
export class FakeClock {
  #now = 0;
  #nextTimer = 1;
  #timers = new Map();

  now = () => this.#now;

  setTimeout = (run, delayMs) => {
    const timer = this.#nextTimer++;
    this.#timers.set(timer, { run, due: this.#now + delayMs });
    return timer;
  };

  clearTimeout = (timer) => this.#timers.delete(timer);

  /** Delays from now of the timers that run, ascending. */
  get delays() {
    return [...this.#timers.values()].map(({ due }) => due - this.#now).sort((a, b) => a - b);
  }

  async advance(ms) {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, each]) => each.due <= end).sort(([, a], [, b]) => a.due - b.due)[0];
      if (!due) break;
      const [timer, { run, due: at }] = due;
      this.#timers.delete(timer);
      this.#now = at;
      run();
      await settle();
    }
    this.#now = end;
  }
}

/** Let every promise that can go on do so. */
export function settle() {
  return new Promise((resolve) => setImmediate(resolve));
}
