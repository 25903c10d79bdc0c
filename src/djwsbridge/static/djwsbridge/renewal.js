// @ts-check
/** @import { Clock, ConnectionOptions, Credential } from "djwsbridge/types.js" */
import { BridgeError } from "djwsbridge/protocol.js";

const FIRST_PAUSE = 5_000; // ms until a callback is asked again that gave the token which ends, or failed
const LONGEST_PAUSE = 60_000; // ms

/** Brings a new token in-band before the old one ends; where there is none, the server closes with 4411 and the next attempt brings it. */
export class Renewal {
  #ask;
  #send;
  #clock;
  /** The token that the server has. @type {string | undefined} */
  #token;
  /** Grows when the connection is lost: an answer that was asked for before counts no more. */
  #life = 0;
  #isUnderWay = false;
  /** @type {unknown} */
  #timer = null;

  /**
   * @param {object} options
   * @param {() => Promise<Credential | undefined>} options.ask  Asks the application for a fresh credential.
   * @param {(token: string) => Promise<unknown>} options.send  Hands a token to the server.
   * @param {Clock} options.clock
   */
  constructor({ ask, send, clock }) {
    this.#ask = ask;
    this.#send = send;
    this.#clock = clock;
  }

  /** Note which credential the connection was opened with. @param {Credential} credential */
  note(credential) { this.#token = credential.token; }

  /** Begin to bring a new token, unless that is under way. */
  begin() {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    this.#try(FIRST_PAUSE, this.#life);
  }

  /** Give up: the connection is lost. */
  stop() {
    this.#life += 1;
    this.#isUnderWay = false;
    this.#clock.clearTimeout(this.#timer);
  }

  /** @param {number} pauseMs  Until the next try, if this one brings nothing new. @param {number} life */
  async #try(pauseMs, life) {
    let isDone = false;
    try {
      const credential = await this.#ask();
      if (life !== this.#life) return;
      isDone = !credential?.token; // there is no such way
      if (credential?.token && credential.token !== this.#token) {
        await this.#send(credential.token);
        this.#token = credential.token;
        isDone = true;
      }
    } catch {
      // Told already, by `ask`; or the server has refused the token, and the connection goes on until the old one ends.
    }
    if (life !== this.#life) return;
    if (isDone) this.#isUnderWay = false;
    else this.#timer = this.#clock.setTimeout(() => this.#try(Math.min(2 * pauseMs, LONGEST_PAUSE), life), pauseMs);
  }
}

/**
 * Ask the application who it is. What that throws is told, by an event and on the console, before it takes its way.
 * @param {EventTarget} connection
 * @param {ConnectionOptions["credential"]} credential
 * @param {boolean} fresh
 * @returns {Promise<Credential | undefined>}
 */
export async function askCredential(connection, credential, fresh) {
  try {
    return await credential?.({ fresh });
  } catch (error) {
    if (!(error instanceof BridgeError)) console.error("djwsbridge: `credential` has failed.", error);
    connection.dispatchEvent(new CustomEvent("credentialerror", { detail: error }));
    throw error;
  }
}
