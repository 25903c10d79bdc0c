// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */

const SAY_EVERY = 2000; // ms; a quarter of the frames allowed a minute, however busy the room

/** Tells the server how far the person has read: at once, then at most every two seconds, and again what did not arrive. */
export class ReadPointer {
  /** How far the person has read, and in which room; null before the first time. @type {{room: number, seq: number} | null} */
  #read = null;
  /** What the server was told. */
  #said;
  /** The pause after saying it; null when it may be said at once. @type {unknown} */
  #pause = null;
  #connection;
  #clock;

  /** @param {{connection: Connection, said: number, clock: Clock}} options */
  constructor({ connection, said, clock }) {
    this.#connection = connection;
    this.#said = said;
    this.#clock = clock;
  }

  /** Note how far the person has read. @param {number} room @param {number} seq */
  move(room, seq) {
    this.#read = { room, seq };
    if (this.#pause === null) this.say();
  }

  /** Tell the server now, if there is news: the page may be about to go. */
  say() {
    this.#clock.clearTimeout(this.#pause);
    this.#pause = null;
    if (!this.#read || this.#read.seq <= this.#said) return;
    const { room, seq } = this.#read;
    const before = this.#said;
    this.#said = seq;
    this.#pause = this.#clock.setTimeout(() => this.say(), SAY_EVERY);
    this.#connection.acknowledge(`room.${room}`, seq, { isSaid: true });
    // A pointer that did not arrive is said again with the next one, or with the next connection.
    this.#connection.request("room.mark_read", { room, seq }).catch(() => (this.#said = before));
  }
}
