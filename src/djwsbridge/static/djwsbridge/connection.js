// @ts-check
/**
 * One lasting connection to the server: opens, greets, keeps alive, notices death, comes back.
 *
 *   stopped ──start──▶ connecting ──connect answered──▶ online
 *      ▲                 │  ▲                             │
 *      └──stop, or a ────┤  └──delay over, or wake── waiting ◀── closed, silent
 *         final code     └───────── closed ──────────▶ waiting
 *
 * Events: `state` (detail: StateDetail), `push` (detail: Push), `badframe` (detail: BadFrameError).
 */
/** @import { Clock, Credential, Push, Session, StateDetail, WebSocketClass, WebSocketLike } from "djwsbridge/types.js" */
import { Backoff } from "djwsbridge/backoff.js";
import { systemClock } from "djwsbridge/clock.js";
import { closeCodeRow } from "djwsbridge/codes.js";
import { WaitingCommands } from "djwsbridge/commands.js";
import { Heartbeat } from "djwsbridge/heartbeat.js";
import {
  BadFrameError, BridgeError, CommandError, CommandTimeoutError,
  ConnectionLostError, SUBPROTOCOL, decodeFrame, encodeCommand,
} from "djwsbridge/protocol.js";

const CONNECT_TIMEOUT = 15_000; // ms from opening the socket to the answer to `connect`; covers a slow phone network
const COMMAND_TIMEOUT = 10_000; // ms; after that the outcome is unknown and a retry decides
const HEARTBEAT_TIMEOUT = 10_000; // ms without an answer: the connection is half-open
const STABLE_AFTER = 10_000; // ms online before the back-off starts anew, so that a server that fails late is spared

/** Which state may follow which. @type {Readonly<Record<string, readonly string[]>>} */
const TRANSITIONS = Object.freeze({
  stopped: ["connecting"],
  connecting: ["online", "waiting", "stopped"],
  online: ["waiting", "stopped"],
  waiting: ["connecting", "stopped"],
});

/**
 * @typedef {object} ConnectionOptions
 * @property {string} url  `wss://…` of the endpoint.
 * @property {(options: {fresh: boolean}) => Credential | Promise<Credential>} [credential]  Asked before each
 *   attempt; `fresh` after the server refused the last one. Leave it out where a cookie is enough; throw a
 *   BridgeError that is not retryable when the person has to log in again.
 * @property {() => Record<string, [string, number]>} [cursors]  What the client has of each topic.
 * @property {WebSocketClass} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 */

export class Connection extends EventTarget {
  #url;
  #credential;
  #cursors;
  #WebSocket;
  #clock;
  #backoff;
  #heartbeat;
  #commands;
  /** @type {StateDetail["state"]} */
  #state = "stopped";
  /** The current socket; null unless connecting or online. @type {WebSocketLike | null} */
  #socket = null;
  /** Grows with each attempt, so that a late answer to an old one is recognised. */
  #attempt = 0;
  /** The timer of the state: connect deadline, stability, or the delay while waiting. @type {unknown} */
  #timer = null;
  /** Set by a `reconnect` push: the move to another node. @type {unknown} */
  #moveTimer = null;
  /** What the server's last `error` push said; null after a good connect. @type {Record<string, any> | null} */
  #lastError = null;
  /** Whether the next attempt must bring a new credential. */
  #fresh = false;
  /** While waiting: the server asked for this time; `wake` does not shorten it. */
  #notBefore = 0;

  /** @param {ConnectionOptions} options */
  constructor({ url, credential, cursors, WebSocket = globalThis.WebSocket, clock = systemClock, random = Math.random }) {
    super();
    this.#url = url;
    this.#credential = credential;
    this.#cursors = cursors ?? (() => ({}));
    this.#WebSocket = WebSocket;
    this.#clock = clock;
    this.#backoff = new Backoff({ random });
    this.#heartbeat = new Heartbeat({ clock, random, beat: () => this.probe() });
    this.#commands = new WaitingCommands({ clock });
  }

  get state() {
    return this.#state;
  }

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
    this.#ask("heartbeat", {}, HEARTBEAT_TIMEOUT).catch((error) => {
      if (error instanceof CommandTimeoutError && attempt === this.#attempt) this.#closed(4421);
    });
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

  /** @param {string} cmd @param {object} fields @param {number} timeoutMs */
  #ask(cmd, fields, timeoutMs) {
    return this.#commands.ask((id) => {
      this.#socket?.send(encodeCommand(id, cmd, { ...fields }));
      this.#heartbeat.touch();
    }, timeoutMs);
  }

  async #open() {
    this.#enter({ state: "connecting" });
    const attempt = ++this.#attempt;
    this.#timer = this.#clock.setTimeout(() => this.#closed(null), CONNECT_TIMEOUT);
    try {
      const credential = this.#credential ? await this.#credential({ fresh: this.#fresh }) : {};
      if (attempt !== this.#attempt) return;
      this.#attach(new this.#WebSocket(this.#url, [SUBPROTOCOL]), credential);
    } catch (error) {
      if (attempt !== this.#attempt) return;
      const refused = error instanceof BridgeError && !error.retryable;
      this.#fresh ||= refused; // asking a second time would not help
      this.#closed(refused ? 4401 : null);
    }
  }

  /** @param {WebSocketLike} socket @param {Credential} credential */
  #attach(socket, credential) {
    this.#socket = socket;
    socket.onopen = () => this.#greet(credential);
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code);
  }

  /** @param {Credential} credential */
  #greet(credential) {
    const attempt = this.#attempt;
    this.#ask("connect", { ...credential, cursors: this.#cursors() }, CONNECT_TIMEOUT).then(
      (session) => attempt === this.#attempt && this.#welcome(/** @type {Session} */ (session)),
      (error) => {
        // The server closes with the fitting code right after; the deadline covers one that does not.
        if (error instanceof CommandError) this.#lastError = { code: error.code, message: error.message, ...error.details };
      },
    );
  }

  /** @param {Session} session */
  #welcome(session) {
    this.#lastError = null;
    this.#fresh = false;
    this.#enter({ state: "online", session });
    this.#timer = this.#clock.setTimeout(() => this.#backoff.reset(), STABLE_AFTER);
    this.#heartbeat.start(session.heartbeat_ms);
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
    if (frame.kind === "reply") this.#commands.settle(frame);
    else this.#pushed(frame);
  }

  /** @param {Push} push */
  #pushed(push) {
    if (push.type === "error") this.#lastError = push.data;
    else if (push.type === "reconnect") this.#moveAfter(push.data.after_ms ?? 0);
    else if (push.type === "auth.expiring") this.#renew();
    this.dispatchEvent(new CustomEvent("push", { detail: push }));
  }

  /** Go to another node before this one closes; until then stay online. @param {number} delayMs */
  #moveAfter(delayMs) {
    const attempt = this.#attempt;
    this.#clock.clearTimeout(this.#moveTimer);
    this.#moveTimer = this.#clock.setTimeout(() => attempt === this.#attempt && this.#closed(1012), delayMs);
  }

  /** Bring a new token in-band; where there is none, the server closes with 4411 and the next attempt brings it. */
  async #renew() {
    try {
      const credential = await this.#credential?.({ fresh: true });
      if (credential?.token) await this.request("auth.refresh", { token: credential.token });
    } catch {
      // The connection goes on until the token ends.
    }
  }

  /** Decide what follows the end of a socket. @param {number | null} closeCode */
  #closed(closeCode) {
    const error = this.#lastError;
    // Daphne can send no 1009: it sends 1000, and the error push before it tells.
    const meant = closeCode === 1000 && error?.code === "too_large" ? 1009 : closeCode;
    const row = closeCodeRow(meant ?? 1006);
    const renewable = row.reaction === "new_credential" && !this.#fresh;
    this.#drop(meant);
    this.#lastError = null;
    const detail = { closeCode: meant, reason: row.name, message: error?.message };
    if (row.reaction === "stop" || (row.reaction === "new_credential" && !renewable)) {
      this.#enter({ state: "stopped", ...detail, advice: row.advice });
      return;
    }
    this.#fresh ||= renewable;
    const atLeastMs = Math.max(row.minDelayMs ?? 0, Number(error?.retry_after_ms ?? 0));
    const delayMs = atLeastMs + this.#backoff.next();
    this.#notBefore = this.#clock.now() + atLeastMs;
    this.#enter({ state: "waiting", ...detail, delayMs });
    this.#timer = this.#clock.setTimeout(() => this.#open(), delayMs);
  }

  /** Let go of the socket without waiting for its closing handshake. @param {number | null} closeCode */
  #drop(closeCode) {
    const socket = this.#socket;
    this.#attempt += 1;
    this.#socket = null;
    this.#heartbeat.stop();
    this.#clock.clearTimeout(this.#moveTimer);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
    this.#commands.lose(closeCode);
  }

  /** @param {StateDetail} detail */
  #enter(detail) {
    if (!TRANSITIONS[this.#state].includes(detail.state)) {
      throw new Error(`A connection cannot go from ${this.#state} to ${detail.state}.`);
    }
    this.#clock.clearTimeout(this.#timer);
    this.#state = detail.state;
    this.dispatchEvent(new CustomEvent("state", { detail }));
  }
}
