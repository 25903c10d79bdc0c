// @ts-check
/**
 * The tabs of one person in one browser: one at a time does what must not be done twice, and each hears of the others.
 *
 * Events: `message` (detail: what another tab told).
 */
export class Tabs extends EventTarget {
  #name;
  #locks;
  /** Null where the browser has or allows none. @type {BroadcastChannel | null} */
  #channel = null;

  /**
   * @param {object} options
   * @param {string} options.name  Shared by the tabs that belong together.
   * @param {Pick<LockManager, "request"> | null} [options.locks]  Null on pages without TLS: then every tab goes ahead.
   * @param {typeof globalThis.BroadcastChannel | null} [options.Channel]
   */
  constructor({ name, locks = globalThis.navigator?.locks ?? null, Channel = globalThis.BroadcastChannel ?? null }) {
    super();
    this.#name = name;
    this.#locks = locks;
    this.#channel = Channel && openChannel(name, Channel);
    if (!this.#channel) return;
    this.#channel.onmessage = ({ data }) => this.dispatchEvent(new CustomEvent("message", { detail: data }));
  }

  /** Tabs that know of no other. */
  static alone() {
    return new Tabs({ name: "", locks: null, Channel: null });
  }

  /** Do something while no other tab does it; where there is no lock to be had, do it all the same. @param {() => Promise<void>} run */
  async alone(run) {
    let hasBegun = false;
    const begin = () => {
      hasBegun = true;
      return run();
    };
    try {
      await this.#locks?.request(this.#name, begin);
    } catch (error) {
      if (hasBegun) throw error; // else the lock was denied, as in a sandboxed frame
    }
    if (!hasBegun) await begin();
  }

  /** Tell the other tabs. @param {object} message */
  tell(message) {
    this.#channel?.postMessage(message);
  }

  close() {
    this.#channel?.close();
    this.#channel = null;
  }
}

/** @param {string} name @param {typeof globalThis.BroadcastChannel} Channel */
function openChannel(name, Channel) {
  try {
    return new Channel(name);
  } catch {
    return null; // Firefox throws a SecurityError where cookies are blocked
  }
}
