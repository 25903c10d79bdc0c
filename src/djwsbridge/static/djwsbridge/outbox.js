// @ts-check
/**
 * What the person has sent and the server has not confirmed. It lies in a store that outlives the page and is shared by
 * the person's tabs, of which one at a time sends. Messages of one lane (a room) leave one after the other, so that a
 * retry cannot be overtaken; lanes do not wait for each other. The same client_message_id goes with every retry.
 *
 * Events: `change` (no detail), `sent` (detail: {entry, result}), `failed` (detail: {entry}).
 */
/** @import { Clock } from "djwsbridge/types.js" */
/** @import { OutboxStore } from "djwsbridge/outbox_store.js" */
import { systemClock } from "djwsbridge/clock.js";
import { Lanes } from "djwsbridge/lanes.js";
import { MemoryStore } from "djwsbridge/outbox_store.js";
import { BridgeError, ConnectionLostError, retryAfter } from "djwsbridge/protocol.js";
import { Tabs } from "djwsbridge/tabs.js";

const LIMIT = 100; // entries; a full outbox refuses the next one, and the composer keeps its text
const MAX_ATTEMPTS = 60; // with back-off about a minute and a half of refusals; then the person decides
const TOO_BIG = 1009;

/**
 * @typedef {object} OutboxRecord  What the store keeps of an entry.
 * @property {string} client_message_id
 * @property {string} lane  Those of one lane keep their order.
 * @property {Record<string, any>} target  Where it goes, for `send`.
 * @property {string} body
 * @property {string} created  ISO time of the click; the server's time replaces it.
 * @property {number} order  Grows with each entry of the store.
 * @property {"queued" | "failed"} state
 * @property {{code: string, message: string} | null} error  Why it failed; null unless failed.
 */
/** @typedef {Omit<OutboxRecord, "state"> & {state: "queued" | "sending" | "failed", attempts: number}} OutboxEntry  `attempts`: refusals. */

export class OutboxFullError extends BridgeError {
  constructor() {
    super("outbox_full", `${LIMIT} messages wait to be sent already.`, { retryable: true });
  }
}

export class Outbox extends EventTarget {
  #send;
  #store;
  #tabs;
  #clock;
  #lanes;
  /** In order of sending. @type {OutboxEntry[]} */
  #entries = [];
  /** The last save of each entry that this tab has changed, by id; their number says when. @type {Map<string, {number: number, isDone: boolean}>} */
  #saves = new Map();
  #saveCount = 0;
  /** Ids that are done with; an older copy of the store does not bring them back. @type {Set<string>} */
  #gone = new Set();
  #online = false;
  /** Whether this tab waits for its turn. */
  #isElecting = false;
  /** Ends this tab's turn; null when it has none. @type {(() => void) | null} */
  #endTurn = null;
  /** @type {unknown} */
  #timer = null;

  /** @param {{send: (entry: OutboxEntry) => Promise<any>, store?: OutboxStore, tabs?: Tabs, clock?: Clock, random?: () => number}} options */
  constructor({ send, store = new MemoryStore(), tabs = Tabs.alone(), clock = systemClock, random = Math.random }) {
    super();
    this.#send = send;
    this.#store = store;
    this.#tabs = tabs;
    this.#clock = clock;
    this.#lanes = new Lanes({ clock, random });
    tabs.addEventListener("message", (event) => this.#heard(/** @type {CustomEvent} */ (event).detail));
  }

  /** What is not confirmed, in order of sending. @returns {readonly OutboxEntry[]} */
  get entries() { return this.#entries; }

  /** Whether what is here outlives the page. */
  get isSafe() {
    return this.#entries.length === 0 || (this.#store.isLasting && [...this.#saves.values()].every(({ isDone }) => isDone));
  }

  /** Take over what an earlier page has left, or another tab has changed. */
  async open() {
    await this.#refresh();
    this.#pump();
  }

  /**
   * Queue a message and send it as soon as possible.
   * @param {Pick<OutboxRecord, "client_message_id" | "lane" | "target" | "body" | "created">} message
   * @throws {OutboxFullError} when too many wait already.
   */
  add(message) {
    if (this.#entries.length >= LIMIT) throw new OutboxFullError();
    /** @type {OutboxEntry} */
    const entry = { ...message, order: this.#nextOrder(), state: "queued", attempts: 0, error: null };
    this.#gone.delete(message.client_message_id);
    this.#entries = [...this.#entries, entry];
    this.#save(entry);
    this.#changed();
    this.#pump();
  }

  /** Say whether the connection is there, and if not, why. @param {boolean} online @param {{closeCode?: number | null}} [options] */
  setOnline(online, { closeCode = null } = {}) {
    this.#online = online;
    this.#lanes.wake();
    if (closeCode === TOO_BIG) this.#blameLargest();
    this.#changed();
    this.#pump();
  }

  /** Send a failed entry again, as the last one. @param {string} clientMessageId */
  retry(clientMessageId) {
    const entry = this.#failedEntry(clientMessageId);
    if (!entry) return;
    Object.assign(entry, { state: "queued", attempts: 0, error: null, order: this.#nextOrder() });
    this.#entries = [...this.#entries.filter((each) => each !== entry), entry];
    this.#save(entry);
    this.#changed();
    this.#pump();
  }

  /** Forget a failed entry. @param {string} clientMessageId */
  discard(clientMessageId) {
    if (this.#failedEntry(clientMessageId)) this.#remove(clientMessageId);
  }

  /**
   * Take a message as confirmed, by its reply or its own push: the next one may go.
   * @param {string} clientMessageId
   * @param {{room: number, body: string}} result  The message as the server stored it.
   */
  settle(clientMessageId, result) {
    const entry = this.#entries.find((each) => each.client_message_id === clientMessageId);
    const isSame = [entry?.body, ""].includes(result.body) && (entry?.target.room ?? result.room) === result.room; // erased: ""
    if (!entry || !isSame) return; // the id was used for another message: the server will refuse this one
    this.dispatchEvent(new CustomEvent("sent", { detail: { entry, result } }));
    this.#remove(clientMessageId);
    this.#lanes.confirm(entry, { isLast: this.#entries.length === 0 });
    this.#pump();
  }

  /** Forget everything, here and in the store: the person logs out. */
  async clear() {
    for (const entry of this.#entries) {
      this.#gone.add(entry.client_message_id);
      this.#lanes.end(entry);
    }
    this.#entries = [];
    this.#changed();
    await this.#keep(async () => this.#store.clear()); // a store that is closed by now keeps nothing that this page could reach
    this.#pump();
  }

  /** Send what may leave; where it is not this tab's turn, wait for it. */
  #pump() {
    this.#clock.clearTimeout(this.#timer);
    if (this.#endTurn) this.#launch();
    else if (!this.#isElecting && this.#ready().length > 0) this.#takeTurn();
    const delayMs = this.#online && !this.#isElecting ? this.#lanes.delay(this.#entries) : null;
    if (delayMs !== null) this.#timer = this.#clock.setTimeout(() => this.#pump(), delayMs);
  }

  async #takeTurn() {
    this.#isElecting = true;
    await this.#tabs.alone(async () => {
      await this.#refresh().finally(() => (this.#isElecting = false)); // another tab may have sent some of it
      await new Promise((resolve) => {
        this.#endTurn = () => resolve(undefined);
        this.#pump();
      });
    });
    this.#pump(); // something may have come while the turn ended
  }

  /** Send what is ready, and give the turn away when nothing is in flight. */
  #launch() {
    for (const entry of this.#ready()) this.#attempt(entry);
    if (this.#lanes.isBusy) return;
    this.#endTurn?.();
    this.#endTurn = null;
  }

  #ready() {
    return this.#online ? this.#lanes.ready(this.#entries) : [];
  }

  /** @param {OutboxEntry} entry */
  async #attempt(entry) {
    this.#lanes.begin(entry);
    entry.state = "sending";
    this.#changed();
    try {
      const result = await this.#send(entry);
      if (!this.#lanes.has(entry)) return; // settled by its own push meanwhile
      this.#tabs.tell({ type: "sent", id: entry.client_message_id, result });
      this.settle(entry.client_message_id, result);
    } catch (error) {
      if (!this.#lanes.end(entry)) return;
      if (entry.state === "sending") this.#failed(entry, asBridgeError(error));
      this.#pump();
    }
  }

  /** @param {OutboxEntry} entry @param {BridgeError} error */
  #failed(entry, error) {
    const isLost = error instanceof ConnectionLostError;
    if (!isLost) entry.attempts += 1;
    if (!error.retryable || entry.attempts >= MAX_ATTEMPTS) {
      this.#fail(entry, error);
      return;
    }
    entry.state = "queued";
    if (!isLost) this.#lanes.pause(entry, retryAfter(error), { isTooFast: error.code === "rate_limited" });
    this.#changed();
  }

  /** @param {OutboxEntry} entry @param {BridgeError} error */
  #fail(entry, { code, message }) {
    Object.assign(entry, { state: "failed", error: { code, message } });
    this.dispatchEvent(new CustomEvent("failed", { detail: { entry } }));
    this.#save(entry);
    this.#changed();
  }

  /** The server closed because a frame was too big: it was the largest of those in flight. */
  #blameLargest() {
    const [largest] = this.#entries.filter(({ state }) => state === "sending").sort((a, b) => b.body.length - a.body.length);
    if (largest) this.#fail(largest, new BridgeError("too_large", "The message is too large.", { retryable: false }));
  }

  /** @param {any} message */
  #heard(message) {
    if (message?.type === "sent") this.settle(message.id, message.result);
    else if (message?.type === "changed") this.open();
  }

  /** Take what the store has, but for what this tab is about to save or has in flight. */
  async #refresh() {
    const before = this.#saveCount;
    const load = async () => this.#store.load(); // async, here and for `#keep`: a store that is blocked may throw at once
    const stored = await load().catch(() => null);
    if (!stored) return;
    const known = new Map(this.#entries.map((entry) => [entry.client_message_id, entry]));
    const isOurs = (/** @type {OutboxEntry} */ { state, client_message_id: id }) => {
      const save = this.#saves.get(id);
      return state === "sending" || (save !== undefined && (!save.isDone || save.number > before));
    };
    const merged = stored.filter(({ client_message_id: id }) => !this.#gone.has(id)).map((record) => {
      const entry = known.get(record.client_message_id);
      known.delete(record.client_message_id);
      return !entry ? { ...record, attempts: 0 } : isOurs(entry) ? entry : Object.assign(entry, record);
    });
    this.#entries = [...merged, ...[...known.values()].filter(isOurs)].sort((a, b) => a.order - b.order);
    this.#changed();
  }

  /** @param {OutboxEntry} entry */
  async #save({ attempts: _, ...entry }) {
    const save = { number: (this.#saveCount += 1), isDone: false };
    this.#saves.set(entry.client_message_id, save);
    const state = entry.state === "failed" ? "failed" : "queued";
    save.isDone = await this.#keep(async () => this.#store.put({ ...entry, state })); // else it stays in memory, and `isSafe` says so
  }

  /** @param {string} clientMessageId */
  #remove(clientMessageId) {
    this.#gone.add(clientMessageId);
    this.#saves.delete(clientMessageId);
    this.#entries = this.#entries.filter((each) => each.client_message_id !== clientMessageId);
    this.#keep(async () => this.#store.remove(clientMessageId));
    this.#changed();
  }

  /** Change the store, and tell the other tabs. @param {() => Promise<void>} change @returns {Promise<boolean>} whether it took the change. */
  #keep(change) {
    return change().then(() => this.#tabs.tell({ type: "changed" })).then(() => true, () => false);
  }

  /** @param {string} clientMessageId */
  #failedEntry(clientMessageId) {
    return this.#entries.find((each) => each.client_message_id === clientMessageId && each.state === "failed");
  }

  #nextOrder() {
    return Math.max(Date.now(), (this.#entries.at(-1)?.order ?? 0) + 1); // the tabs of one browser share a clock
  }

  #changed() {
    this.dispatchEvent(new CustomEvent("change"));
  }
}

/** @param {unknown} error @returns {BridgeError} */
function asBridgeError(error) {
  if (error instanceof BridgeError) return error;
  return new BridgeError("internal", "The message could not be sent.", { retryable: true });
}
