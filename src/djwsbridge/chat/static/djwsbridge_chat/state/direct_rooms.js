// @ts-check
/** @import { UserId } from "djwsbridge/types.js" */
/** @import { ChatApi } from "djwsbridge/chat/state/api.js" */
/** @import { Room } from "djwsbridge/chat/state/types.js" */

/** Finds or makes the private rooms that messages are on their way to, each by one request. */
export class DirectRooms {
  #api;
  /** By person. @type {Map<UserId, Promise<Room>>} */
  #opening = new Map();

  /** @param {{api: ChatApi}} options */
  constructor({ api }) {
    this.#api = api;
  }

  /** @param {UserId} peerId @returns {Promise<Room>} */
  async open(peerId) {
    const opening = this.#opening.get(peerId) ?? this.#api.openDirect(peerId);
    this.#opening.set(peerId, opening);
    try {
      return await opening;
    } finally {
      this.#opening.delete(peerId);
    }
  }
}
