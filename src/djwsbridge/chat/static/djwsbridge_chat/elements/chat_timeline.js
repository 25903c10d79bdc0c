// @ts-check
/** @import { MessageItem, TimelineItem } from "djwsbridge/chat/state/layout.js" */
import { find, make, reconcile, setText } from "djwsbridge/chat/elements/dom.js";
import { createMessage, updateMessage } from "djwsbridge/chat/elements/message_view.js";
import { formatDay } from "djwsbridge/chat/elements/time.js";

const AT_BOTTOM = 48; // px from the end that still count as the end: about one line
const ABOVE_UNREAD = 72; // px: enough of what was read already to know where one is
const LOAD_OLDER_WITHIN = 600; // px from the start: older messages are there before the reader is

/**
 * Shows the messages, keeps the reader's place, and asks for more.
 *
 * Events: `chat-older` (older messages are wanted), `chat-seen` (the end is in sight), `chat-retry` and `chat-discard`
 * (detail: the client_message_id).
 */
export class ChatTimelineElement extends HTMLElement {
  /** @type {AbortController | null} */
  #listening = null;
  /** @type {ResizeObserver | null} */
  #resizes = null;
  /** Whether the reader is at the end, and stays there when something arrives. */
  #atBottom = true;
  /** Whether the reader has a place yet: a room opens at its first unread message. */
  #isPlaced = false;
  /** The last confirmed seq shown. */
  #lastSeq = 0;
  /** Messages of others that arrived below what is in sight. */
  #newBelow = 0;
  /** Whether the list moves to its end by itself; what comes meanwhile must not stop it. And where it was last. */
  #isOnTheWay = false;
  #scrollTop = 0;
  /** Where the list begins on the page: lower while a line above it says something. */
  #top = 0;
  /** Whether there are older messages: "more", "none", "loading" or "failed". */
  #older = "none";

  connectedCallback() {
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    this.#log.addEventListener("scroll", () => this.#scrolled(), { signal, passive: true });
    this.#pill.addEventListener("click", () => this.scrollToEnd({ smooth: true }), { signal });
    this.addEventListener("click", (event) => this.#clicked(event), { signal });
    this.#top = this.#log.getBoundingClientRect().top;
    this.#resizes = new ResizeObserver(() => this.#resized());
    this.#resizes.observe(this.#log);
  }

  disconnectedCallback() {
    this.#listening?.abort();
    this.#resizes?.disconnect();
  }

  get atBottom() {
    return this.#atBottom;
  }

  /**
   * Show these items; keep the reader's place.
   * @param {TimelineItem[]} items
   * @param {{hasOlder: boolean}} options
   */
  render(items, { hasOlder }) {
    const anchor = this.#atBottom ? null : this.#findAnchor();
    this.#countNew(items);
    this.#log.setAttribute("aria-busy", String(anchor !== null));
    reconcile(this.#items, items, { key: (item) => item.key, create, update });
    this.#showOlder(hasOlder ? (this.#older === "failed" ? "failed" : "more") : "none");
    find(this, ".log-empty").hidden = items.length > 0;
    find(this, ".log-start").hidden = items.length === 0;
    if (anchor) this.#log.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    else this.#place(items.length > 0);
    this.#showPill();
    this.#log.removeAttribute("aria-busy");
    this.#scrolled();
  }

  /** Go to the first unread message when the room has just been opened, else to the end. @param {boolean} hasItems */
  #place(hasItems) {
    const mark = this.#isPlaced ? null : this.#items.querySelector(".unread-mark");
    this.#isPlaced ||= hasItems;
    this.scrollToEnd();
    if (!mark) return;
    const above = this.#log.getBoundingClientRect().top + ABOVE_UNREAD - mark.getBoundingClientRect().top;
    if (above <= 0) return; // all of it is in sight
    this.#log.scrollTop -= above;
    this.#newBelow = this.#items.querySelectorAll(".unread-mark ~ .message:not(.own)").length;
  }

  /** Say that older messages did not come. */
  failOlder() {
    this.#showOlder("failed");
  }

  /** @param {{smooth?: boolean}} [options] */
  scrollToEnd({ smooth = false } = {}) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#atBottom = true;
    this.#isOnTheWay = smooth && !calm;
    this.#log.scrollTo({ top: this.#log.scrollHeight, behavior: this.#isOnTheWay ? "smooth" : "instant" });
  }

  get #log() {
    return find(this, "[role=log]");
  }

  get #items() {
    return find(this, ".log-items");
  }

  get #pill() {
    return /** @type {HTMLButtonElement} */ (find(this, ".pill"));
  }

  /** Stay at the end, or leave what is being read where it is. */
  #resized() {
    const { top } = this.#log.getBoundingClientRect();
    if (this.#atBottom) this.scrollToEnd();
    else this.#log.scrollTop += top - this.#top;
    this.#top = top;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    const isThere = scrollHeight - scrollTop - clientHeight < AT_BOTTOM;
    // Who scrolls back on the way down wants to stay.
    if (isThere || scrollTop < this.#scrollTop) this.#isOnTheWay = false;
    this.#scrollTop = scrollTop;
    this.#atBottom = isThere || this.#isOnTheWay;
    if (isThere) {
      this.#newBelow = 0;
      this.#showPill();
      this.dispatchEvent(new CustomEvent("chat-seen", { bubbles: true }));
    }
    const isInSight = clientHeight > 0; // in a hidden frame every list is at its start and at its end, and would load without end
    if (isInSight && scrollTop < LOAD_OLDER_WITHIN && this.#older === "more") this.#askOlder();
  }

  #askOlder() {
    this.#showOlder("loading");
    this.dispatchEvent(new CustomEvent("chat-older", { bubbles: true }));
  }

  /** @param {Event} event */
  #clicked(event) {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (!(button instanceof HTMLButtonElement)) return;
    const { retry, discard } = button.dataset;
    if (retry) this.dispatchEvent(new CustomEvent("chat-retry", { bubbles: true, detail: retry }));
    if (discard) this.dispatchEvent(new CustomEvent("chat-discard", { bubbles: true, detail: discard }));
    if (button.classList.contains("older-retry")) this.#askOlder();
  }

  /** The first message in sight, by which the place is kept. */
  #findAnchor() {
    const edge = this.#log.getBoundingClientRect().top;
    for (const element of this.#items.querySelectorAll(".message")) {
      const { top, bottom } = element.getBoundingClientRect();
      if (bottom > edge) return { element, top };
    }
    return null;
  }

  /** @param {TimelineItem[]} items */
  #countNew(items) {
    const messages = /** @type {MessageItem[]} */ (items.filter((item) => item.kind === "message" && item.seq !== null));
    const arrived = this.#lastSeq ? messages.filter(({ own, seq }) => !own && Number(seq) > this.#lastSeq) : [];
    this.#newBelow = this.#atBottom ? 0 : this.#newBelow + arrived.length;
    this.#lastSeq = messages.at(-1)?.seq ?? this.#lastSeq;
  }

  #showPill() {
    this.#pill.hidden = this.#newBelow === 0;
    setText(find(this, ".pill-text"), this.#newBelow === 1 ? "1 new message" : `${this.#newBelow} new messages`);
  }

  /** @param {string} older */
  #showOlder(older) {
    this.#older = older;
    find(this, ".log-start").dataset.older = older;
  }
}

/** @param {TimelineItem} item */
function create(item) {
  if (item.kind === "message") return createMessage(item);
  if (item.kind === "unread") return make("div", { class: "divider unread-mark" }, make("span", {}, "New messages"));
  return make("div", { class: "divider day-mark" }, make("time", {}));
}

/** @param {HTMLElement} element @param {TimelineItem} item */
function update(element, item) {
  if (item.kind === "message") updateMessage(element, item);
  if (item.kind !== "day") return;
  const time = /** @type {HTMLTimeElement} */ (find(element, "time"));
  time.dateTime = item.created.slice(0, 10);
  setText(time, formatDay(item.created));
}
