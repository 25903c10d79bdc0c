// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */
import { BridgeError } from "djwsbridge/protocol.js";

const ACK_EVERY = 2000; // ms; each is a frame, of which the server takes 120 a minute
const MAX_TOPICS = 50; // of one ack; an object of a frame has 64 keys at most
const ROOM_PREFIX = "room."; // only the members of rooms have a `delivered_seq`

/** Tells the server what this device has, so that the authors see it delivered: at once, then at most every two seconds. */
export class Acks {
  /** What is here and was not said yet, by topic. @type {Map<string, number>} */
  #news = new Map();
  /** What the server was told on this connection, by topic. @type {Map<string, number>} */
  #said = new Map();
  /** The timer of the next ack; null when none is due. @type {unknown} */
  #timer = null;
  /** No ack before this time. */
  #notBefore = 0;
  /** Whether there is a connection whose server knows the command. */
  #isOpen = false;
  #request;
  #clock;

  /** @param {{request: (cmd: string, fields: Record<string, unknown>) => Promise<unknown>, clock: Clock}} options */
  constructor({ request, clock }) {
    this.#request = request;
    this.#clock = clock;
  }

  /** Begin on a new connection, with what could not be said on the last one. */
  open() {
    this.#isOpen = true;
    this.#notBefore = 0;
    this.#said.clear(); // a log of another epoch may have begun anew
    this.#schedule();
  }

  close() {
    this.#isOpen = false;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** Note that everything of a topic up to a seq is here. @param {string} topic @param {number} seq */
  note(topic, seq) {
    if (!topic.startsWith(ROOM_PREFIX) || seq <= Math.max(this.#said.get(topic) ?? 0, this.#news.get(topic) ?? 0)) return;
    this.#news.set(topic, seq);
    this.#schedule();
  }

  /** Note that another command has said it, as `room.mark_read` does. @param {string} topic @param {number} seq */
  imply(topic, seq) {
    this.#said.set(topic, Math.max(seq, this.#said.get(topic) ?? 0));
    if ((this.#news.get(topic) ?? 0) <= seq) this.#news.delete(topic);
  }

  /** Drop what was not said of a topic: its history was replaced. @param {string} topic */
  forget(topic) {
    this.#news.delete(topic);
    this.#said.delete(topic);
  }

  #schedule() {
    if (!this.#isOpen || this.#timer !== null || this.#news.size === 0) return;
    // Never within the same turn: what arrives together is said together.
    this.#timer = this.#clock.setTimeout(() => this.#say(), Math.max(0, this.#notBefore - this.#clock.now()));
  }

  async #say() {
    this.#timer = null;
    const seqs = [...this.#news].slice(0, MAX_TOPICS);
    if (seqs.length === 0) return;
    this.#notBefore = this.#clock.now() + ACK_EVERY;
    for (const [topic, seq] of seqs) this.imply(topic, seq);
    try {
      await this.#request("ack", { seqs: Object.fromEntries(seqs) });
    } catch (error) {
      this.#failed(seqs, error);
    }
    this.#schedule();
  }

  /** @param {Array<[string, number]>} seqs @param {unknown} error */
  #failed(seqs, error) {
    if (error instanceof BridgeError && error.code === "unknown_type") this.#isOpen = false;
    if (!(error instanceof BridgeError) || !error.retryable) return;
    for (const [topic, seq] of seqs) {
      if (this.#said.get(topic) === seq) this.#said.delete(topic);
      this.note(topic, seq);
    }
  }
}
