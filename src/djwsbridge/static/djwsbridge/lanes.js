// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */
/** @import { OutboxEntry } from "djwsbridge/outbox.js" */
import { Backoff } from "djwsbridge/backoff.js";

const PATIENCE = 3_000; // ms between two attempts at most: what waited out an outage is sent within 5 s of its end
const PACE = 600; // ms between sends after rate limits: 17 in 10 s, where the server's default allows 20

/** @typedef {{backoff: Backoff, notBefore: number, entry: OutboxEntry | null}} Lane  `entry` is the one in flight. */

/** Decides which entry may leave when: one at a time of each lane, in order, none before its pause is over. */
export class Lanes {
  #clock;
  #random;
  /** By name. @type {Map<string, Lane>} */
  #lanes = new Map();
  /** No send of any lane before this time: the server's limit is the person's, not the room's. */
  #notBefore = 0;
  /** Whether the server has found this client too fast once. */
  #isWarned = false;
  /** Whether it did so again: then this client goes slowly until nothing waits, because a third breach ends the connection. */
  #isPaced = false;

  /** @param {{clock: Clock, random: () => number}} options */
  constructor({ clock, random }) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Whether something is in flight. */
  get isBusy() {
    return [...this.#lanes.values()].some(({ entry }) => entry !== null);
  }

  /** Whether this entry is in flight. @param {OutboxEntry} entry */
  has(entry) {
    return this.#lane(entry).entry === entry;
  }

  /** Give the entries that may leave now. @param {readonly OutboxEntry[]} entries  In order. @returns {OutboxEntry[]} */
  ready(entries) {
    const now = this.#clock.now();
    if (now < this.#notBefore) return [];
    const ready = this.#heads(entries).filter((entry) => this.#lane(entry).notBefore <= now);
    return this.#isPaced ? ready.slice(0, this.isBusy ? 0 : 1) : ready;
  }

  /** Give the milliseconds until something that waits may leave; null when nothing does. @param {readonly OutboxEntry[]} entries */
  delay(entries) {
    const now = this.#clock.now();
    const times = this.#heads(entries).map((entry) => Math.max(this.#notBefore, this.#lane(entry).notBefore));
    const next = Math.min(...times.filter((time) => time > now));
    return next < Infinity ? next - now : null;
  }

  /** Note that an entry leaves. @param {OutboxEntry} entry */
  begin(entry) {
    this.#lane(entry).entry = entry;
  }

  /** Note that an entry is in flight no more, with no outcome. @param {OutboxEntry} entry @returns {boolean} whether it was. */
  end(entry) {
    const wasInFlight = this.has(entry);
    if (wasInFlight) this.#lane(entry).entry = null;
    return wasInFlight;
  }

  /** Note that an entry is confirmed. @param {OutboxEntry} entry @param {{isLast: boolean}} options */
  confirm(entry, { isLast }) {
    this.#isPaced &&= !isLast;
    if (this.end(entry) && this.#isPaced) this.#notBefore = this.#clock.now() + PACE;
    this.#lane(entry).backoff.reset();
  }

  /** Let a lane wait. @param {OutboxEntry} entry @param {number} atLeastMs @param {{isTooFast: boolean}} options */
  pause(entry, atLeastMs, { isTooFast }) {
    const lane = this.#lane(entry);
    lane.notBefore = this.#clock.now() + atLeastMs + lane.backoff.next();
    if (!isTooFast) return;
    this.#isPaced = this.#isWarned;
    this.#isWarned = true;
    this.#notBefore = Math.max(this.#notBefore, lane.notBefore);
  }

  /** End every pause: the connection is new. */
  wake() {
    this.#notBefore = 0;
    for (const lane of this.#lanes.values()) lane.notBefore = 0;
  }

  /** The next entry of each lane that has none in flight. @param {readonly OutboxEntry[]} entries */
  #heads(entries) {
    /** @type {Map<string, OutboxEntry>} */
    const heads = new Map();
    for (const entry of entries) if (entry.state === "queued" && !heads.has(entry.lane)) heads.set(entry.lane, entry);
    return [...heads.values()].filter((entry) => this.#lane(entry).entry === null);
  }

  /** @param {OutboxEntry} entry @returns {Lane} */
  #lane({ lane: name }) {
    let lane = this.#lanes.get(name);
    if (!lane) {
      lane = { backoff: new Backoff({ random: this.#random, capMs: PATIENCE }), notBefore: 0, entry: null };
      this.#lanes.set(name, lane);
    }
    return lane;
  }
}
