// @ts-check
/** @import { User, UserId } from "djwsbridge/types.js" */
/** @import { MemberSeen } from "djwsbridge/chat/state/types.js" */

/**
 * Who is online, topic by topic, as the server last said.
 *
 * Events: `change`.
 */
export class Presence extends EventTarget {
  /** Online users by id, by topic. @type {Map<string, Map<UserId, User>>} */
  #topics = new Map();
  /** When people who are not online were, as far as the server tells; ISO. @type {Map<UserId, string>} */
  #lastSeen = new Map();
  #nowIso;

  /** @param {{nowIso?: () => string}} [options] */
  constructor({ nowIso = () => new Date().toISOString() } = {}) {
    super();
    this.#nowIso = nowIso;
  }

  /** Take the whole list of a topic. @param {string} topic @param {User[]} users */
  load(topic, users) {
    this.#topics.set(topic, new Map(users.map((user) => [user.id, user])));
    this.#changed();
  }

  /** Take a change; one of a topic that was not loaded yet says nothing. @param {string} topic @param {{user: User, state: string}} change */
  change(topic, { user, state }) {
    const users = this.#topics.get(topic);
    if (!users) return;
    if (state === "offline" && users.delete(user.id)) this.#lastSeen.set(user.id, this.#nowIso());
    else if (state !== "offline") users.set(user.id, user);
    this.#changed();
  }

  /** Take who of the members of a room is online, and when the others were. @param {string} topic @param {MemberSeen[]} members */
  loadMembers(topic, members) {
    const users = this.#topics.get(topic);
    for (const { id, name, online, last_seen: iso } of members) {
      if (online) users?.set(id, { id, name });
      else if (iso && iso > (this.#lastSeen.get(id) ?? "")) this.#lastSeen.set(id, iso);
    }
    this.#changed();
  }

  /** When somebody was last online; null when they are, and when nobody knows. @param {UserId} id */
  lastSeen(id) {
    return this.isOnline(id) ? null : this.#lastSeen.get(id) ?? null;
  }

  /** Forget every topic but these. @param {string[]} topics */
  keep(topics) {
    for (const topic of this.#topics.keys()) if (!topics.includes(topic)) this.#topics.delete(topic);
    this.#changed();
  }

  /**
   * Give the people online on a topic, or on any when null, by name.
   * @param {string | null} [topic]
   * @returns {User[]}
   */
  users(topic = null) {
    const lists = topic === null ? [...this.#topics.values()] : [this.#topics.get(topic) ?? new Map()];
    const users = new Map(lists.flatMap((list) => [...list]));
    return [...users.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  /** Whether the server has listed a topic, or any when null. @param {string | null} topic */
  isKnown(topic) {
    return topic === null ? this.#topics.size > 0 : this.#topics.has(topic);
  }

  /** @param {UserId} id */
  isOnline(id) {
    return [...this.#topics.values()].some((users) => users.has(id));
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
