// @ts-check
/** @import { Status } from "djwsbridge/chat/state/status.js" */
import { find, setText } from "djwsbridge/chat/elements/dom.js";

/** The line that says how the connection is. */
export class ChatStatusElement extends HTMLElement {
  /** @param {Status} status */
  set status({ tone, text }) {
    this.dataset.tone = tone;
    setText(find(this, ".status-text"), text);
  }
}
