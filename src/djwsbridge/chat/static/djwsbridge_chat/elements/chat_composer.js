// @ts-check
import { find, isInputMethodKey, setText } from "djwsbridge/chat/elements/dom.js";
import { keepDraft, readDraft } from "djwsbridge/chat/elements/drafts.js";
import { checkBody, isVisible } from "djwsbridge/chat/state/text.js";

/**
 * Where the person writes. Keeps an unfinished text through a reload of the tab, and lets no text go that is too long.
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
    if (!this.#field.value) this.#field.value = readDraft(this.#draftKey);
    this.#edited();
    if (matchMedia("(pointer: fine)").matches) this.#field.focus({ preventScroll: true });
  }

  disconnectedCallback() {
    this.#listening?.abort();
  }

  /** Say under the field why the text cannot be sent, until it is edited; empty for the usual hint. @param {string} text */
  set problem(text) {
    this.note = text;
    find(this, ".composer-note").classList.toggle("field-error", text !== "");
    if (text) this.#field.setAttribute("aria-invalid", "true");
    else this.#field.removeAttribute("aria-invalid");
  }

  /** Say something else there. @param {string} text */
  set note(text) {
    setText(find(this, ".composer-note"), text);
    find(this, ".composer-keys").hidden = text !== "";
  }

  get writable() {
    return !this.#field.disabled;
  }

  /** @param {boolean} writable */
  set writable(writable) {
    this.#field.disabled = !writable;
    if (writable) this.#edited(); // the text may be too long, as before
    else find(this, "button").toggleAttribute("disabled", true);
  }

  /** @returns {HTMLTextAreaElement} */
  get #field() {
    return /** @type {any} */ (find(this, "textarea"));
  }

  get #draftKey() {
    return `draft ${this.dataset.user} ${location.pathname}`;
  }

  /** What would be sent: its first line may be indented on purpose. */
  get #text() {
    return this.#field.value.trimEnd().replace(/^\n+/, "");
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (event.key !== "Enter" || event.shiftKey || isInputMethodKey(event)) return;
    event.preventDefault();
    this.#send();
  }

  /** @param {Event} event */
  #submitted(event) {
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.#text;
    if (!isVisible(text) || checkBody(text)) return;
    const accepted = this.dispatchEvent(new CustomEvent("chat-send", { bubbles: true, cancelable: true, detail: text }));
    this.#field.focus({ preventScroll: true });
    if (!accepted) return;
    this.#field.value = "";
    this.#edited();
  }

  #typed() {
    this.#edited();
    if (isVisible(this.#field.value)) this.dispatchEvent(new CustomEvent("chat-write", { bubbles: true }));
  }

  #edited() {
    const problem = checkBody(this.#text);
    this.problem = problem ?? "";
    find(this, "button").toggleAttribute("disabled", problem !== null);
    keepDraft(this.#draftKey, this.#field.value);
    this.#fit();
  }

  /** Let the field grow with its text, where CSS cannot. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}
