// @ts-check
import { find, setText } from "djwsbridge/chat/elements/dom.js";

/**
 * Where the person writes. Keeps an unfinished text through a reload of the tab.
 *
 * Events: `chat-send` (detail: the text; a listener that calls preventDefault refuses it, and the text stays),
 * `chat-write` (the person is typing).
 */
export class ChatComposerElement extends HTMLElement {
  /** @type {AbortController | null} */
  #listening = null;

  connectedCallback() {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    find(this, "form").addEventListener("submit", (event) => this.#submitted(event), { signal });
    this.#field.addEventListener("keydown", (event) => this.#keyPressed(event), { signal });
    this.#field.addEventListener("input", () => this.#typed(), { signal });
    find(this, "button").removeAttribute("disabled");
    if (!this.#field.value) this.#field.value = sessionStorage.getItem(this.#draftKey) ?? "";
    this.#fit();
    if (matchMedia("(pointer: fine)").matches) this.#field.focus({ preventScroll: true });
  }

  disconnectedCallback() {
    this.#listening?.abort();
  }

  /** Say something under the field, such as why a text was refused; empty for the usual hint. @param {string} text */
  set note(text) {
    setText(find(this, ".composer-note"), text);
    find(this, ".composer-keys").hidden = text !== "";
  }

  /** @param {boolean} writable */
  set writable(writable) {
    this.#field.disabled = !writable;
    find(this, "button").toggleAttribute("disabled", !writable);
  }

  /** @returns {HTMLTextAreaElement} */
  get #field() {
    return /** @type {any} */ (find(this, "textarea"));
  }

  get #draftKey() {
    return `draft ${this.dataset.user} ${location.pathname}`;
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#send();
  }

  /** @param {Event} event */
  #submitted(event) {
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.#field.value.trimEnd().replace(/^\n+/, ""); // the first line may be indented on purpose
    if (!text) return;
    const accepted = this.dispatchEvent(new CustomEvent("chat-send", { bubbles: true, cancelable: true, detail: text }));
    if (accepted) this.#field.value = "";
    this.#edited();
    this.#field.focus({ preventScroll: true });
  }

  #typed() {
    this.#edited();
    if (this.#field.value.trim()) this.dispatchEvent(new CustomEvent("chat-write", { bubbles: true }));
  }

  #edited() {
    const { value } = this.#field;
    if (value) sessionStorage.setItem(this.#draftKey, value);
    else sessionStorage.removeItem(this.#draftKey);
    this.#fit();
  }

  /** Let the field grow with its text, where CSS cannot. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
