// @ts-check
/** @import { User, UserId } from "djwsbridge/types.js" */

/**
 * The members of the open room, by id. The server lists the first thousand, and says how many there are.
 * @extends {Map<UserId, User>}
 */
export class Members extends Map {
  /** How many members there are besides those that are listed. */
  unlisted = 0;

  /** Take what the server says. @param {User[]} users @param {number} [count]  How many members the room has. */
  take(users, count = 0) {
    this.clear();
    for (const { id, name } of users) this.set(id, { id, name });
    this.unlisted = Math.max(0, count - this.size);
  }
}
