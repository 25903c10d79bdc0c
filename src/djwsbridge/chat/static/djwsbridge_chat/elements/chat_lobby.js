// @ts-check
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */
import { find, setText } from "djwsbridge/chat/elements/dom.js";
import { ERASED } from "djwsbridge/chat/state/text.js";

/** The list of all rooms on the first page: keeps the last message and the unread count of each current. */
export class ChatLobbyElement extends HTMLElement {
  /** @param {RoomList} list */
  render(list) {
    for (const card of /** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll("[data-key]"))) {
      const room = list.get(Number(card.dataset.key));
      if (!room?.is_member) continue;
      const { last_message: last, unread } = room;
      if (last) setText(find(card, ".card-preview"), `${last.sender.name}: ${last.body || ERASED}`);
      find(card, ".badge").hidden = unread === 0;
      setText(find(card, ".badge-count"), unread > 99 ? "99+" : String(unread));
    }
  }
}
