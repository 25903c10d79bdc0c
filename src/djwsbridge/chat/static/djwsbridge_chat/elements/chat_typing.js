// @ts-check
/** @import { User } from "djwsbridge/types.js" */
import { find, setText } from "djwsbridge/chat/elements/dom.js";

/** The line that says who is typing; it keeps its height when nobody is. */
export class ChatTypingElement extends HTMLElement {
  /** @param {User[]} users */
  set users(users) {
    const [first, second] = users.map(({ name }) => name);
    const text = users.length > 2 ? "Several people are typing…" : second ? `${first} and ${second} are typing…` : first ? `${first} is typing…` : "";
    setText(find(this, ".typing-text"), text);
    this.toggleAttribute("data-active", users.length > 0);
  }
}
