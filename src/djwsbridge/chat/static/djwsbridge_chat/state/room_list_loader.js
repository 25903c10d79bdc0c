// @ts-check
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { ChatApi } from "djwsbridge/chat/state/api.js" */
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */

/** Fetches the list of rooms anew when it is out of date. */
export class RoomListLoader {
  #api;
  #rooms;
  #connection;
  #isStale = false;
  #isLoading = false;

  /** @param {{api: ChatApi, rooms: RoomList, connection: Connection}} options */
  constructor({ api, rooms, connection }) {
    this.#api = api;
    this.#rooms = rooms;
    this.#connection = connection;
  }

  /** Note that the list is out of date. */
  expire() {
    this.#isStale = true;
    this.resume();
  }

  /** Fetch it, if it is still out of date. */
  async resume() {
    if (this.#isLoading || !this.#isStale) return;
    this.#isLoading = true;
    try {
      const { rooms } = await this.#api.listRooms();
      this.#isStale = false;
      this.#rooms.replace(rooms);
      for (const { id, is_member, last_seq: seq } of rooms) if (is_member) this.#connection.acknowledge(`room.${id}`, seq);
    } catch {
      // The next connection tries again.
    } finally {
      this.#isLoading = false;
    }
  }
}
