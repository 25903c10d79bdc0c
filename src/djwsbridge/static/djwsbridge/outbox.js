// @ts-check
/**
 * What the person has sent and the server has not confirmed: kept in order, one in flight, the same
 * client_message_id on every retry. In memory: it lives as long as the page.
 *
 * Events: `change` (no detail), `sent` (detail: {entry, result}).
 */
/** @import { Clock } from "djwsbridge/types.js" */
import { Backoff } from "djwsbridge/backoff.js";
import { systemClock } from "djwsbridge/clock.js";
import { BridgeError, CommandError, ConnectionLostError } from "djwsbridge/protocol.js";

const LIMIT = 100; // entries; a full outbox refuses the next one, and the composer keeps its text
const MAX_ATTEMPTS = 5; // with back-off about 10 s; then the person decides
const TOO_BIG = 1009;
const PACE = 600; // ms between sends after a rate limit: 17 in 10 s, where the server's default allows 20

/**
 * @typedef {object} OutboxEntry
 * @property {string} client_message_id
 * @property {string} body
 * @property {string} created  ISO time of the click; the server's time replaces it.
 * @property {"waiting" | "sending" | "failed"} state
 * @property {number} attempts  How often it was handed to `send`.
 * @property {BridgeError | null} error  Why it failed; null unless failed.
 */

export class OutboxFullError extends BridgeError {
  constructor() {
    super("outbox_full", `${LIMIT} messages wait to be sent already.`, { retryable: true });
  }
}

export class Outbox extends EventTarget {
  #send;
  #clock;
  #backoff;
  /** @type {OutboxEntry[]} */
  #entries = [];
  /** Whether sending makes sense now. */
  #online = false;
  /** The entry in flight, or null. @type {OutboxEntry | null} */
  #inFlight = null;
  /** Timer of the pause before the next send; null when there is none. @type {unknown} */
  #pause = null;
  /** Whether the server found this outbox too fast: it goes slowly until it is empty. */
  #isPaced = false;

  /** @param {{send: (entry: OutboxEntry) => Promise<unknown>, clock?: Clock, random?: () => number}} options */
  constructor({ send, clock = systemClock, random = Math.random }) {
    super();
    this.#send = send;
    this.#clock = clock;
    this.#backoff = new Backoff({ random });
  }

  /** What is not confirmed, in order of sending. @returns {readonly OutboxEntry[]} */
  get entries() {
    return this.#entries;
  }

  /**
   * Queue a message and send it as soon as possible.
   * @param {{client_message_id: string, body: string, created: string}} message
   * @throws {OutboxFullError} when too many wait already.
   */
  add(message) {
    if (this.#entries.length >= LIMIT) throw new OutboxFullError();
    this.#entries.push({ ...message, state: "waiting", attempts: 0, error: null });
    this.#changed();
    this.#drain();
  }

  /** Say whether the connection is there. @param {boolean} online */
  setOnline(online) {
    this.#online = online;
    this.#resume();
    this.#changed();
    if (online) this.#drain();
  }

  /** Send a failed entry again, as the last one. @param {string} clientMessageId */
  retry(clientMessageId) {
    const entry = this.#entries.find((each) => each.client_message_id === clientMessageId && each.state === "failed");
    if (!entry) return;
    this.#entries = [...this.#entries.filter((each) => each !== entry), entry];
    Object.assign(entry, { state: "waiting", attempts: 0, error: null });
    this.#changed();
    this.#drain();
  }

  /** Forget a failed entry. @param {string} clientMessageId */
  discard(clientMessageId) {
    this.#remove(clientMessageId, "failed");
  }

  /** Take the message as confirmed, by its reply or by its own push: the next one may go. @param {string} clientMessageId */
  settle(clientMessageId) {
    const wasInFlight = this.#inFlight?.client_message_id === clientMessageId;
    if (wasInFlight) this.#inFlight = null;
    this.#remove(clientMessageId);
    this.#isPaced &&= this.#entries.length > 0;
    if (wasInFlight && this.#isPaced) this.#pauseFor(PACE);
    this.#drain();
  }

  /** Give up on everything that waits: the connection will not come back by itself. @param {BridgeError} error */
  failAll(error) {
    for (const entry of this.#entries) if (entry.state !== "failed") this.#fail(entry, error);
    this.#changed();
  }

  async #drain() {
    const entry = this.#entries.find((each) => each.state === "waiting");
    if (!this.#online || this.#inFlight || this.#pause !== null || !entry) return;
    this.#inFlight = entry;
    entry.state = "sending";
    entry.attempts += 1;
    this.#changed();
    try {
      const result = await this.#send(entry);
      this.#backoff.reset();
      this.dispatchEvent(new CustomEvent("sent", { detail: { entry, result } }));
      this.settle(entry.client_message_id);
    } catch (error) {
      this.#failed(entry, asBridgeError(error));
    } finally {
      if (this.#inFlight === entry) this.#inFlight = null;
    }
    this.#drain();
  }

  /** @param {OutboxEntry} entry @param {BridgeError} error */
  #failed(entry, error) {
    if (!this.#entries.includes(entry) || entry.state !== "sending") return; // settled or given up meanwhile
    const tooBig = error instanceof ConnectionLostError && error.closeCode === TOO_BIG;
    if (!error.retryable || tooBig || entry.attempts >= MAX_ATTEMPTS) {
      this.#fail(entry, tooBig ? new BridgeError("too_large", "The message is too large.", { retryable: false }) : error);
    } else {
      entry.state = "waiting";
      this.#isPaced ||= error.code === "rate_limited";
      if (!(error instanceof ConnectionLostError)) this.#pauseFor(retryAfter(error) + this.#backoff.next());
    }
    this.#changed();
  }

  /** @param {OutboxEntry} entry @param {BridgeError} error */
  #fail(entry, error) {
    entry.state = "failed";
    entry.error = error;
  }

  /** Send nothing for a while. @param {number} delayMs */
  #pauseFor(delayMs) {
    this.#pause = this.#clock.setTimeout(() => {
      this.#resume();
      this.#drain();
    }, delayMs);
  }

  #resume() {
    this.#clock.clearTimeout(this.#pause);
    this.#pause = null;
  }

  /** @param {string} clientMessageId @param {OutboxEntry["state"]} [onlyState] */
  #remove(clientMessageId, onlyState) {
    const index = this.#entries.findIndex(
      (each) => each.client_message_id === clientMessageId && (!onlyState || each.state === onlyState),
    );
    if (index < 0) return;
    this.#entries = this.#entries.filter((_, at) => at !== index);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

/** How long the server asks to wait. @param {BridgeError} error */
function retryAfter(error) {
  return error instanceof CommandError ? Number(error.details.retry_after_ms ?? 0) : 0;
}

/** @param {unknown} error @returns {BridgeError} */
function asBridgeError(error) {
  if (error instanceof BridgeError) return error;
  return new BridgeError("internal", "The message could not be sent.", { retryable: true });
}
