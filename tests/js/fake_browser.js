import { Tabs } from "djwsbridge/tabs.js";

/** What the tabs of one browser share: a lock, and a channel between them. */
export class FakeBrowser {
  #channels = new Set();
  /** Who waits for the lock; the first has it. */
  #queue = [];
  #hasLocks;

  constructor({ hasLocks = true } = {}) {
    this.#hasLocks = hasLocks;
  }

  tab() {
    const browser = this;
    const owner = {};
    const Channel = class {
      constructor() {
        browser.#channels.add(this);
      }

      postMessage(data) {
        for (const each of browser.#channels) if (each !== this) queueMicrotask(() => each.onmessage?.({ data }));
      }

      close() {
        browser.#channels.delete(this);
      }
    };
    const locks = { request: (_, run) => browser.#request(owner, run) };
    return Object.assign(new Tabs({ name: "test", locks: this.#hasLocks ? locks : null, Channel }), { owner });
  }

  /** Close a tab as a crash does: it says nothing more, and its lock is free. */
  close(tab) {
    tab.close();
    const [holder] = this.#queue;
    this.#queue = this.#queue.filter(({ owner }) => owner !== tab.owner);
    if (holder?.owner === tab.owner) this.#next();
  }

  #request(owner, run) {
    return new Promise((resolve) => {
      this.#queue.push({ owner, run, resolve });
      if (this.#queue.length === 1) this.#next();
    });
  }

  async #next() {
    const [waiting] = this.#queue;
    if (!waiting) return;
    await waiting.run();
    waiting.resolve();
    if (this.#queue[0] !== waiting) return;
    this.#queue.shift();
    this.#next();
  }
}
