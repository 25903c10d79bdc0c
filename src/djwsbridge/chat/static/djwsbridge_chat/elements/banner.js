// @ts-check
import { setText } from "djwsbridge/chat/elements/dom.js";

const SHOWN_AFTER = 1500; // ms; most reconnects are shorter, and need no words

/** The line below the header that says what it means that there is no connection. */
export class Banner {
  #element;
  #text = "";
  /** Runs before the line is shown, else null. @type {ReturnType<typeof setTimeout> | null} */
  #timer = null;

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element;
  }

  /** Say something, after a while; nothing to say hides the line at once. @param {string} text */
  say(text) {
    this.#text = text;
    if (!text) this.#hide();
    else if (!this.#element.hidden) setText(this.#element, text);
    else this.#timer ??= setTimeout(() => this.#show(), SHOWN_AFTER);
  }

  #show() {
    this.#timer = null;
    setText(this.#element, this.#text);
    this.#element.hidden = false;
  }

  #hide() {
    clearTimeout(this.#timer ?? undefined);
    this.#timer = null;
    this.#element.hidden = true;
  }
}
