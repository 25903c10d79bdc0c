// @ts-check
/** @import { Receipt, UserId } from "djwsbridge/types.js" */

/** @typedef {{state: "sent" | "delivered" | "read", delivered: number, read: number, of: number}} Progress */

/**
 * What the members of the rooms have and have read, as far as they tell. It only grows.
 *
 * Events: `change`.
 */
export class Receipts extends EventTarget {
  /** By topic, by user. @type {Map<string, Map<UserId, {delivered: number, read: number}>>} */
  #topics = new Map();

  /** Take what the server says of some members. @param {string} topic @param {Receipt[]} receipts */
  take(topic, receipts) {
    const known = this.#topics.get(topic) ?? new Map();
    this.#topics.set(topic, known);
    for (const { user, delivered_seq: delivered, read_seq: read = 0 } of receipts) {
      const before = known.get(user) ?? { delivered: 0, read: 0 };
      known.set(user, { delivered: Math.max(before.delivered, delivered), read: Math.max(before.read, read) });
    }
    this.dispatchEvent(new CustomEvent("change"));
  }

  /**
   * Say how far one's own message has come: `delivered` or `read` when that is true of every reader; and of how many it is.
   * @param {string | null} topic
   * @param {number} seq
   * @param {UserId[]} readers
   * @param {number} [unlisted]  How many readers there are besides.
   * @returns {Progress}
   */
  progressOf(topic, seq, readers, unlisted = 0) {
    const known = this.#topics.get(topic ?? "");
    let delivered = 0;
    let read = 0;
    for (const reader of readers) {
      const theirs = known?.get(reader) ?? { delivered: 0, read: 0 };
      if (theirs.delivered >= seq) delivered += 1;
      if (theirs.read >= seq) read += 1;
    }
    const of = readers.length + unlisted;
    const state = of > 0 && read === of ? "read" : of > 0 && delivered === of ? "delivered" : "sent";
    return { state, delivered, read, of };
  }
}
