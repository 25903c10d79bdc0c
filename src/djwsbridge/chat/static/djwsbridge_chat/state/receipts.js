// @ts-check
/** @import { Receipt, UserId } from "djwsbridge/types.js" */

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
   * Say how far one's own message has come: `delivered` or `read` when that is true of every reader.
   * @param {string | null} topic
   * @param {number} seq
   * @param {UserId[]} readers
   * @returns {"sent" | "delivered" | "read"}
   */
  stateOf(topic, seq, readers) {
    const known = this.#topics.get(topic ?? "");
    if (!known || readers.length === 0) return "sent";
    const all = readers.map((reader) => known.get(reader) ?? { delivered: 0, read: 0 });
    if (all.every(({ read }) => read >= seq)) return "read";
    return all.every(({ delivered }) => delivered >= seq) ? "delivered" : "sent";
  }
}
