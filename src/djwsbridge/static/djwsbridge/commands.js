// @ts-check
/** @import { Clock, Reply } from "djwsbridge/types.js" */
import { BridgeError, CommandError, CommandTimeoutError, ConnectionLostError } from "djwsbridge/protocol.js";

const MAX_WAITING = 100; // the server bounds commands a minute at about this; more means a loop somewhere

/** The commands of one connection that wait for their reply. */
export class WaitingCommands {
  #clock;
  #nextId = 1;
  /** By command id. @type {Map<number, {resolve: (ok: any) => void, reject: (error: Error) => void, timer: unknown}>} */
  #waiting = new Map();

  /** @param {{clock: Clock}} options */
  constructor({ clock }) {
    this.#clock = clock;
  }

  /**
   * Register a command, hand its id to `send`, and wait for the reply.
   * @param {(id: number) => void} send
   * @param {number} timeoutMs
   * @returns {Promise<Record<string, any>>}
   */
  ask(send, timeoutMs) {
    if (this.#waiting.size >= MAX_WAITING) {
      return Promise.reject(new BridgeError("busy", "Too many commands wait for an answer.", { retryable: true }));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => this.#take(id)?.reject(new CommandTimeoutError()), timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      send(id);
    });
  }

  /** Hand the id of a command to `send` whose reply nothing waits for. @param {(id: number) => void} send */
  tell(send) {
    send(this.#nextId++);
  }

  /** Settle the command that a reply answers. @param {Reply} reply @returns {boolean} whether there was one. */
  settle(reply) {
    const command = reply.id === null ? undefined : this.#take(reply.id);
    if (reply.error) command?.reject(new CommandError(reply.error));
    else command?.resolve(reply.ok);
    return command !== undefined;
  }

  /** Fail every waiting command: the connection is gone. @param {number | null} closeCode */
  lose(closeCode) {
    for (const id of [...this.#waiting.keys()]) this.#take(id)?.reject(new ConnectionLostError(closeCode));
  }

  /** @param {number} id */
  #take(id) {
    const command = this.#waiting.get(id);
    this.#waiting.delete(id);
    this.#clock.clearTimeout(command?.timer);
    return command;
  }
}
