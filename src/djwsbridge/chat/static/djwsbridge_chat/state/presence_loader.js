// @ts-check
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { MemberSeen } from "djwsbridge/chat/state/types.js" */
/** @import { Presence } from "djwsbridge/chat/state/presence.js" */

const MAX_TOPICS = 20; // the open room and the first of the others; a sixth of the frames allowed a minute

/** Asks the server who is online. */
export class PresenceLoader {
  #connection;
  #presence;

  /** @param {{connection: Connection, presence: Presence}} options */
  constructor({ connection, presence }) {
    this.#connection = connection;
    this.#presence = presence;
  }

  /** Ask anew for these topics, the open one first, and forget all others. @param {string[]} topics @param {string | null} open */
  async loadAll(topics, open) {
    const wanted = topics.sort((a, b) => Number(b === open) - Number(a === open)).slice(0, MAX_TOPICS);
    this.#presence.keep(wanted);
    await Promise.all(wanted.map((topic) => this.load(topic)));
  }

  /** @param {string} topic */
  async load(topic) {
    try {
      const { users } = await this.#connection.request("presence.list", { topic });
      this.#presence.load(topic, users);
    } catch {
      // Nobody is shown until the next connection; messages do not depend on it.
    }
  }

  /** Ask who the members of a room are, and note when those were here who are not. @param {number} room @returns {Promise<MemberSeen[] | null>} */
  async members(room) {
    try {
      const { members } = await this.#connection.request("room.members", { room });
      this.#presence.loadLastSeen(members);
      return members;
    } catch {
      return null; // those that the page knows stay
    }
  }
}
