// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */

const JITTER = 0.2; // of the period, so that clients which connected together do not beat together

/** Says when to send a heartbeat: one period, give or take the jitter, after the last proof that the server hears and is heard. */
export class Heartbeat {
  /** Period in milliseconds; null while stopped.
   * @type {number | null} */
  #periodMs = null;
  /** The running timer, or null. @type {unknown} */
  #timer = null;
  #clock;
  #random;
  #beat;

  /** @param {{clock: Clock, random: () => number, beat: () => void}} options */
  constructor({ clock, random, beat }) {
    this.#clock = clock;
    this.#random = random;
    this.#beat = beat;
  }

  /** @param {number} periodMs */
  start(periodMs) {
    this.#periodMs = periodMs;
    this.touch();
  }

  stop() {
    this.#periodMs = null;
    this.#clock.clearTimeout(this.#timer);
  }

  /** Note a reply: the next heartbeat is due one period from now. */
  touch() {
    this.#clock.clearTimeout(this.#timer);
    if (this.#periodMs === null) return;
    const factor = 1 - JITTER + 2 * JITTER * this.#random();
    this.#timer = this.#clock.setTimeout(() => this.#beat(), Math.round(this.#periodMs * factor));
  }
}
