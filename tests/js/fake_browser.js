import { Tabs } from "djwsbridge/tabs.js";

/** What the tabs of one browser share: a lock, and a channel between them. */
export class FakeBrowser {
  #channels = new Set();
  /** Who waits for the lock; the first has it. */
  #queue = [];
  #locks;

  /** @param {{locks?: "granted" | "none" | "denied"}} [options]  `none` as without TLS, `denied` as in a sandboxed frame. */
  constructor({ locks = "granted" } = {}) {
    this.#locks = locks;
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
    const locks = { request: (_, run) => (this.#locks === "denied" ? deny() : browser.#request(owner, run)) };
    return Object.assign(new Tabs({ name: "test", locks: this.#locks === "none" ? null : locks, Channel }), { owner });
  }

  /** Close a tab as a crash does: it says nothing more, and its lock is free. */
  close(tab) {
    tab.close();
    const [holder] = this.#queue;
    this.#queue = this.#queue.filter(({ owner }) => owner !== tab.owner);
    if (holder?.owner === tab.owner) this.#next();
  }

  #request(owner, run) {
    return new Promise((resolve, reject) => {
      this.#queue.push({ owner, run, resolve, reject });
      if (this.#queue.length === 1) this.#next();
    });
  }

  async #next() {
    const [waiting] = this.#queue;
    if (!waiting) return;
    await waiting.run().then(waiting.resolve, waiting.reject);
    if (this.#queue[0] !== waiting) return;
    this.#queue.shift();
    this.#next();
  }
}

async function deny() {
  throw new DOMException("Access to the Locks API is denied in this context.", "SecurityError");
}
