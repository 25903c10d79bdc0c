// @ts-check
/** @import { Connection } from "djwsbridge/connection.js" */
/** @import { RoomListLoader } from "djwsbridge/chat/state/room_list_loader.js" */
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */
/** @import { Snapshot } from "djwsbridge/chat/state/snapshot.js" */
/** @import { Room } from "djwsbridge/chat/state/types.js" */

/**
 * The rooms of a person who has so many that the connection does not listen to all of them. Of the others the server
 * tells only their newest seq: these rooms are fetched anew. The open room is one that the connection must listen to.
 */
export class Announcements {
  #connection;
  #rooms;
  #loader;
  #snapshot;

  /** @param {{connection: Connection, rooms: RoomList, loader: RoomListLoader, snapshot: Snapshot}} options */
  constructor({ connection, rooms, loader, snapshot }) {
    this.#connection = connection;
    this.#rooms = rooms;
    this.#loader = loader;
    this.#snapshot = snapshot;
  }

  /**
   * Fetch the rooms that have changed since the list was made, and listen to the open room if it is among them.
   * @param {Record<string, number>} seqs  The newest ones, by topic.
   * @param {Room | null} open
   */
  async hear(seqs, open) {
    const moved = Object.entries(seqs).map(([topic, seq]) => ({ id: Number(topic.slice("room.".length)), seq }));
    this.#loader.refresh(moved.filter(({ id, seq }) => seq !== this.#rooms.get(id)?.last_seq).map(({ id }) => id));
    const topic = `room.${open?.id}`;
    if (!open || !(topic in seqs)) return;
    await this.#connection.subscribe(topic).catch(() => {}); // the next connection tries again
    this.#snapshot.load(open.id, 0);
  }
}
