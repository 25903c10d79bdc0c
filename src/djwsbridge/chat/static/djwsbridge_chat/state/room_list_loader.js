// @ts-check
/** @import { Clock } from "djwsbridge/types.js" */
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { ChatApi } from "djwsbridge/chat/state/api.js" */
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */
/** @import { Room } from "djwsbridge/chat/state/types.js" */

const MAX_ROOMS = 200; // rooms in one request; the server takes no more. For more, the whole list is cheaper
const REST = 1_000; // ms between two requests for rooms that have moved

/** Fetches rooms anew when they are out of date: the whole list, or those that are known to have moved. */
export class RoomListLoader {
  #api;
  #rooms;
  #connection;
  #clock;
  /** Whether the whole list is out of date. */
  #isStale = false;
  /** The rooms that have moved. @type {Set<number>} */
  #moved = new Set();
  #isLoading = false;

  /** @param {{api: ChatApi, rooms: RoomList, connection: Connection, clock: Clock}} options */
  constructor({ api, rooms, connection, clock }) {
    this.#api = api;
    this.#rooms = rooms;
    this.#connection = connection;
    this.#clock = clock;
  }

  /** Note that the list is out of date. */
  expire() {
    this.#isStale = true;
    this.resume();
  }

  /** Note that rooms are out of date. @param {number[]} ids */
  refresh(ids) {
    for (const id of ids) this.#moved.add(id);
    if (this.#moved.size > MAX_ROOMS) this.#isStale = true;
    this.resume();
  }

  /** Fetch what is out of date. */
  async resume() {
    if (this.#isLoading || !(this.#isStale || this.#moved.size > 0)) return;
    this.#isLoading = true;
    const ids = this.#isStale ? null : [...this.#moved];
    this.#isStale = false;
    this.#moved.clear();
    try {
      this.#take(await this.#api.listRooms(ids), ids);
    } catch {
      if (ids) for (const id of ids) this.#moved.add(id); // the next connection tries again
      else this.#isStale = true;
      this.#isLoading = false;
      return;
    }
    this.#clock.setTimeout(() => {
      this.#isLoading = false;
      this.resume(); // what has moved meanwhile
    }, REST);
  }

  /** @param {{rooms: Room[]}} answer @param {number[] | null} ids */
  #take({ rooms }, ids) {
    if (ids) this.#rooms.update(rooms);
    else this.#rooms.replace(rooms);
    for (const { id, is_member, last_seq: seq } of rooms) if (is_member) this.#connection.acknowledge(`room.${id}`, seq);
  }
}
