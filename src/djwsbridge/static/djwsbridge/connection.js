// @ts-check
/**
 * One lasting connection to the server: opens, greets, keeps alive, notices death, comes back.
 *
 *   stopped ──start──▶ connecting ──connect answered──▶ online
 *      ▲                 │  ▲                             │
 *      └──stop, or a ────┤  └──delay over, or wake── waiting ◀── closed, silent
 *         final code     └───────── closed ──────────▶ waiting
 *
 * Nothing that is published to a durable topic is missed, doubled or out of order: `recovery.js` sees to it.
 *
 * Events: `state` (StateDetail), `push` (Push), `begin` and `reset` (Beginning: load a snapshot of that topic), `receipts`
 * (TopicReceipts), `badframe` (BadFrameError), `credentialerror` (what `credential` has thrown); each in the event's detail.
 */
/** @import { ConnectionOptions, Credential, Push, StateDetail, WebSocketLike, Welcome } from "djwsbridge/types.js" */
import { Acks } from "djwsbridge/acks.js";
import { Backoff } from "djwsbridge/backoff.js";
import { systemClock } from "djwsbridge/clock.js";
import { WaitingCommands } from "djwsbridge/commands.js";
import { Heartbeat } from "djwsbridge/heartbeat.js";
import {
  BadFrameError, BridgeError, CommandError, CommandTimeoutError, ConnectionLostError, SUBPROTOCOL, decodeFrame, encodeCommand,
} from "djwsbridge/protocol.js";
import { reactTo } from "djwsbridge/reaction.js";
import { Recovery } from "djwsbridge/recovery.js";
import { Renewal, askCredential } from "djwsbridge/renewal.js";
import { checkTransition } from "djwsbridge/states.js";

const CONNECT_TIMEOUT = 15_000; // ms from opening the socket to the answer to `connect`; covers a slow phone network
const COMMAND_TIMEOUT = 10_000; // ms; after that the outcome is unknown and a retry decides
const HEARTBEAT_TIMEOUT = 10_000; // ms without an answer: the connection is half-open
const STABLE_AFTER = 10_000; // ms online before the back-off starts anew, so that a server that fails late is spared

export class Connection extends EventTarget {
  #url;
  #credential;
  #isRenewable;
  #WebSocket;
  #clock;
  #backoff;
  #heartbeat;
  #commands;
  #recovery;
  #acks;
  #renewal;
  /** @type {StateDetail["state"]} */
  #state = "stopped";
  /** The current socket; null unless connecting or online. @type {WebSocketLike | null} */
  #socket = null;
  /** Grows with each attempt, so that a late answer to an old one is recognised. */
  #attempt = 0;
  /** The timer of the state: connect deadline, stability, or the delay while waiting. @type {unknown} */
  #timer = null;
  /** When to move to another node, as a `reconnect` push said; null when staying. @type {number | null} */
  #moveAt = null;
  /** @type {unknown} */
  #moveTimer = null;
  /** What the server's last `error` push said; null after a good connect. @type {Record<string, any> | null} */
  #lastError = null;
  /** Whether the next attempt must bring a new credential. */
  #fresh = false;
  /** While waiting: the server asked for this time; `wake` does not shorten it. */
  #notBefore = 0;

  /** @param {ConnectionOptions} options */
  constructor({
    url, credential, isRenewable = true, cursors = {}, WebSocket = globalThis.WebSocket, clock = systemClock, random = Math.random,
  }) {
    super();
    this.#url = url;
    this.#credential = credential;
    this.#isRenewable = isRenewable;
    this.#WebSocket = WebSocket;
    this.#clock = clock;
    this.#backoff = new Backoff({ random });
    this.#heartbeat = new Heartbeat({ clock, random, beat: () => this.probe() });
    this.#commands = new WaitingCommands({ clock });
    /** @param {string} cmd @param {Record<string, unknown>} fields */
    const request = (cmd, fields) => this.request(cmd, fields);
    this.#acks = new Acks({ request, clock });
    this.#renewal = new Renewal({ ask: () => this.#askCredential(true), send: (token) => request("auth.refresh", { token }), clock });
    this.#recovery = new Recovery({
      request, clock, random, cursors,
      tell: (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail })),
      replaced: (topic) => this.#acks.forget(topic),
      advanced: (topic, seq) => this.#acks.note(topic, seq),
    });
  }

  get state() { return this.#state; }

  /** What was told of each durable topic: epoch and seq, to be kept beside a snapshot. */
  get cursors() { return this.#recovery.cursors; }

  /** Connect, and stay connected until `stop`. */
  start() {
    if (this.#state !== "stopped") return;
    this.#backoff.reset();
    this.#fresh = false;
    this.#open();
  }

  /** Leave, and do not come back. */
  stop() {
    if (this.#state === "stopped") return;
    this.#drop(1000);
    this.#enter({ state: "stopped", closeCode: 1000, reason: "normal" });
  }

  /** Use a good moment (network is back, page is visible): connect now if waiting, check the link if online. */
  wake() {
    if (this.#state === "waiting" && this.#clock.now() >= this.#notBefore) this.#open();
    else this.probe();
  }

  /** Ask for a sign of life; without one in time the connection is given up and made anew. */
  probe() {
    if (this.#state !== "online") return;
    const attempt = this.#attempt;
    this.#ask("heartbeat", {}, HEARTBEAT_TIMEOUT).then(
      ({ tips }) => tips && attempt === this.#attempt && this.#recovery.hearTips(tips),
      (error) => error instanceof CommandTimeoutError && attempt === this.#attempt && this.#closed(4421),
    );
  }

  /**
   * Send a command and wait for its reply.
   * @param {string} cmd
   * @param {Record<string, unknown>} [fields]
   * @param {{timeoutMs?: number}} [options]
   * @returns {Promise<Record<string, any>>} the reply's `ok`.
   * @throws {CommandError} when the server answers with an error.
   * @throws {CommandTimeoutError} and ConnectionLostError when the outcome is unknown.
   */
  request(cmd, fields = {}, { timeoutMs = COMMAND_TIMEOUT } = {}) {
    if (this.#state !== "online") return Promise.reject(new ConnectionLostError());
    return this.#ask(cmd, fields, timeoutMs);
  }

  /** Listen to a topic, also after a reconnect. @param {string} topic @returns {Promise<void>} */
  subscribe(topic) { return this.#recovery.subscribe(topic); }

  /** Listen to a topic no more. @param {string} topic @returns {Promise<void>} */
  unsubscribe(topic) { return this.#recovery.unsubscribe(topic); }

  /** Ask now for what `connect` had no room to say of a topic. @param {string} topic */
  refresh(topic) { this.#recovery.refresh(topic); }

  /**
   * Note that a snapshot brought everything of a room up to a seq, so that its authors see it delivered.
   * @param {string} topic
   * @param {number} seq
   * @param {{isSaid?: boolean}} [options]  Whether another command has told the server already, as `room.mark_read` does.
   */
  acknowledge(topic, seq, { isSaid = false } = {}) {
    if (isSaid) this.#acks.imply(topic, seq);
    else this.#acks.note(topic, seq);
  }

  /** @param {string} cmd @param {object} fields @param {number} timeoutMs */
  #ask(cmd, fields, timeoutMs) {
    return this.#commands.ask((id) => this.#socket?.send(encodeCommand(id, cmd, { ...fields })), timeoutMs);
  }

  async #open() {
    this.#enter({ state: "connecting" });
    const attempt = ++this.#attempt;
    this.#timer = this.#clock.setTimeout(() => this.#closed(null), CONNECT_TIMEOUT);
    try {
      const credential = (await this.#askCredential(this.#fresh)) ?? {};
      if (attempt !== this.#attempt) return;
      this.#attach(new this.#WebSocket(this.#url, [SUBPROTOCOL]), credential);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      const refused = error instanceof BridgeError && !error.retryable;
      this.#fresh ||= refused; // asking a second time would not help
      if (!refused) this.#lastError = { code: "not_opened", message: String(error) };
      this.#closed(refused ? 4401 : null);
    }
  }

  /** @param {boolean} fresh */
  #askCredential(fresh) { return askCredential(this, this.#credential, fresh); }

  /** @param {WebSocketLike} socket @param {Credential} credential */
  #attach(socket, credential) {
    this.#socket = socket;
    this.#renewal.note(credential);
    socket.onopen = () => this.#greet(credential);
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code);
  }

  /** @param {Credential} credential */
  #greet(credential) {
    const attempt = this.#attempt;
    this.#ask("connect", { ...credential, cursors: this.#recovery.greet() }, CONNECT_TIMEOUT).then(
      (ok) => attempt === this.#attempt && this.#welcome(/** @type {Welcome} */ (ok)),
      (error) => {
        if (!(error instanceof CommandError) || attempt !== this.#attempt) return;
        this.#lastError = { code: error.code, message: error.message, ...error.details };
        if (error.retryable) this.#closed(null); // else the server closes with the fitting code right after
      },
    );
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    this.#lastError = null;
    this.#fresh = false;
    this.#enter({ state: "online", welcome });
    if (this.#state !== "online") return; // a listener has stopped it
    this.#timer = this.#clock.setTimeout(() => this.#backoff.reset(), STABLE_AFTER);
    this.#heartbeat.start(welcome.heartbeat_ms);
    this.#acks.open();
    this.#recovery.welcome(welcome.topics);
  }

  /** @param {unknown} text */
  #receive(text) {
    let frame;
    try {
      frame = decodeFrame(text);
    } catch (error) {
      if (!(error instanceof BadFrameError)) throw error;
      this.dispatchEvent(new CustomEvent("badframe", { detail: error }));
      return;
    }
    if (frame.kind === "push") this.#pushed(frame);
    else if (this.#commands.settle(frame)) this.#heartbeat.touch();
  }

  /** Act on what the server says to the connection itself; on a topic, an event of the same name is the application's. @param {Push} push */
  #pushed(push) {
    if (push.type === "error" && push.topic === null) this.#lastError = push.data;
    else if (push.type === "reconnect" && push.topic === null) this.#moveAfter(push.data.after_ms ?? 0);
    else if (push.type === "auth.expiring" && push.topic === null) this.#renewal.begin();
    else if (push.type === "proof" && push.topic === null) this.#prove(push.data.proof);
    else this.#recovery.accept(push);
  }

  /** Go to another node before this one closes; until then stay online. @param {number} delayMs */
  #moveAfter(delayMs) {
    this.#clock.clearTimeout(this.#moveTimer);
    this.#moveAt = this.#clock.now() + delayMs;
    this.#moveTimer = this.#clock.setTimeout(() => this.#closed(1012), delayMs);
  }

  /** Show the server that this client reads; no answer is needed. @param {string} proof */
  #prove(proof) { this.#commands.tell((id) => this.#socket?.send(encodeCommand(id, "heartbeat", { proof }))); }

  /** Come back after the end of a socket, unless it is final. @param {number | null} closeCode */
  #closed(closeCode) {
    const { detail, advice, stops, needsCredential, atLeastMs, isRefused } = reactTo(closeCode, {
      error: this.#lastError, isFresh: this.#fresh || !this.#isRenewable,
    });
    const moveMs = this.#moveAt === null ? null : Math.max(0, this.#moveAt - this.#clock.now());
    this.#drop(detail.closeCode);
    this.#lastError = null;
    if (stops) {
      this.#enter({ state: "stopped", ...detail, advice: advice ?? undefined });
      return;
    }
    this.#fresh ||= needsCredential;
    const leastMs = Math.max(atLeastMs, moveMs ?? 0);
    const delayMs = leastMs + (moveMs === null ? this.#backoff.next({ isRefused }) : 0); // the time of a move is random already
    this.#notBefore = this.#clock.now() + leastMs;
    this.#enter({ state: "waiting", ...detail, delayMs });
    this.#timer = this.#clock.setTimeout(() => this.#open(), delayMs);
  }

  /** Let go of the socket without waiting for its closing handshake. @param {number | null} closeCode */
  #drop(closeCode) {
    const socket = this.#socket;
    this.#attempt += 1;
    this.#socket = null;
    this.#heartbeat.stop();
    this.#renewal.stop();
    this.#acks.close();
    this.#recovery.lose();
    this.#moveAt = null;
    this.#clock.clearTimeout(this.#moveTimer);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    this.#commands.lose(closeCode);
  }

  /** @param {StateDetail} detail */
  #enter(detail) {
    checkTransition(this.#state, detail.state);
    this.#clock.clearTimeout(this.#timer);
    this.#state = detail.state;
    this.dispatchEvent(new CustomEvent("state", { detail }));
  }
}
