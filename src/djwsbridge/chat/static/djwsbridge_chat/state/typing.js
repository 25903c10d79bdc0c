// @ts-check
/** @import { Clock, User, UserId } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */

const REPEAT_AFTER = 3200; // ms; the server takes one every 3 s, and a network may bring two of them closer together
const FORGET_AFTER = 6000; // ms; whoever goes on typing says so every three seconds

/** Says that the person is typing, again and again while they do, not more often than the server wants. */
export class TypingNotice {
  #connection;
  #clock;
  /** No notice before this time. */
  #notBefore = 0;

  /** @param {{connection: Connection, clock: Clock}} options */
  constructor({ connection, clock }) {
    this.#connection = connection;
    this.#clock = clock;
  }

  /** Note that the person has typed something. @param {number} room */
  touch(room) {
    if (this.#connection.state !== "online" || this.#clock.now() < this.#notBefore) return;
    this.#notBefore = this.#clock.now() + REPEAT_AFTER;
    this.#connection.request("typing.set", { room }).catch(() => {}); // the next one says it again
  }
}

/**
 * Who is typing in the open room.
 *
 * Events: `change`.
 */
export class TypingPeople extends EventTarget {
  /** By id, in the order in which they began, each with the timer that forgets them. @type {Map<UserId, {user: User, timer: unknown}>} */
  #people = new Map();
  #clock;

  /** @param {{clock: Clock}} options */
  constructor({ clock }) {
    super();
    this.#clock = clock;
  }

  /** @returns {User[]} */
  get users() {
    return [...this.#people.values()].map(({ user }) => user);
  }

  /** Note that somebody is typing. @param {User} user */
  hear(user) {
    this.#clock.clearTimeout(this.#people.get(user.id)?.timer);
    const isNew = !this.#people.has(user.id);
    this.#people.set(user.id, { user, timer: this.#clock.setTimeout(() => this.forget(user.id), FORGET_AFTER) });
    if (isNew) this.#changed();
  }

  /** Note that somebody types no more: their message is here, or they are gone. @param {UserId | null} id */
  forget(id) {
    const person = id === null ? undefined : this.#people.get(id);
    if (!person) return;
    this.#clock.clearTimeout(person.timer);
    this.#people.delete(person.user.id);
    this.#changed();
  }

  /** Forget everybody: without a connection nobody can be seen typing. */
  clear() {
    for (const { timer } of this.#people.values()) this.#clock.clearTimeout(timer);
    if (this.#people.size === 0) return;
    this.#people.clear();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}
