// @ts-check
/** @import { RoomList } from "djwsbridge/chat/state/rooms.js" */
/** @import { Room } from "djwsbridge/chat/state/types.js" */
import { find, reconcile, setText } from "djwsbridge/chat/elements/dom.js";
import { formatAgo, formatFull } from "djwsbridge/chat/elements/time.js";
import { ERASED } from "djwsbridge/chat/state/text.js";

/** The lists of the first page: keeps the person's own rooms current, the one spoken in last on top. */
export class ChatLobbyElement extends HTMLElement {
  /** @param {RoomList} rooms */
  render({ recent }) {
    const list = this.querySelector(".own-rooms");
    if (!list) return;
    const cards = new Map(Array.from(list.children, (card) => [/** @type {HTMLElement} */ (card).dataset.key, /** @type {HTMLElement} */ (card)]));
    const focused = document.activeElement;
    reconcile(list, recent.filter(({ id }) => cards.has(String(id))), {
      key: ({ id }) => String(id),
      create: ({ id }) => /** @type {HTMLElement} */ (cards.get(String(id))),
      update,
    });
    if (focused instanceof HTMLElement && list.contains(focused)) focused.focus({ preventScroll: true }); // a card that moves loses it
  }
}

/** @param {HTMLElement} card @param {Room} room */
function update(card, { last_message: last, unread }) {
  if (last) {
    setText(find(card, ".card-preview"), `${last.sender.name}: ${last.body || ERASED}`);
    const time = /** @type {HTMLTimeElement} */ (find(card, "time"));
    time.dateTime = last.created;
    time.title = formatFull(last.created);
    setText(time, formatAgo(last.created));
  }
  find(card, ".badge").hidden = unread === 0;
  setText(find(card, ".badge-count"), unread > 99 ? "99+" : String(unread));
}
