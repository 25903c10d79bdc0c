// @ts-check
/** @import { UserId } from "djwsbridge/types.js" */
/** @import { MessagePage, Room } from "djwsbridge/chat/state/types.js" */
import { CommandError } from "djwsbridge/protocol.js";

/** The REST API of the chat, as far as the pages use it. */
export class ChatApi {
  #base;
  #csrfToken;
  #fetch;

  /** @param {{base: string, csrfToken: string, fetch?: typeof globalThis.fetch}} options */
  constructor({ base, csrfToken, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#base = base;
    this.#csrfToken = csrfToken;
    this.#fetch = fetch;
  }

  /**
   * Load the messages directly before a seq, ascending.
   * @param {number} roomId
   * @param {number} before
   * @param {number} limit
   * @returns {Promise<MessagePage>}
   */
  listMessages(roomId, before, limit) {
    return this.#call("GET", `rooms/${roomId}/messages/?before=${before}&limit=${limit}`);
  }

  /** List all rooms, or only these. @param {number[] | null} [ids] @returns {Promise<{rooms: Room[]}>} */
  listRooms(ids = null) {
    return this.#call("GET", ids ? `rooms/?ids=${ids.join(",")}` : "rooms/");
  }

  /** Find or make the direct room with a person. @param {UserId} userId @returns {Promise<Room>} */
  openDirect(userId) {
    return this.#call("POST", "direct/", { user: userId });
  }

  /** Change the person's own settings. @param {{read_receipts: boolean}} settings @returns {Promise<unknown>} */
  updateMe(settings) {
    return this.#call("PATCH", "me/", settings);
  }

  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  async #call(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json" };
    if (body) Object.assign(headers, { "Content-Type": "application/json", "X-CSRFToken": this.#csrfToken });
    const response = await this.#fetch(this.#base + path, {
      method, headers, body: body && JSON.stringify(body), credentials: "same-origin",
    });
    const answer = await response.json().catch(() => null);
    if (response.ok && answer) return answer;
    throw new CommandError({
      code: "internal", message: "The server gave no usable answer.", retryable: response.status >= 500, ...answer?.error,
    });
  }
}
