// @ts-check
/** One message on the page. */
/** @import { MessageItem } from "djwsbridge/chat/state/layout.js" */
import { draw, find, make, setText, toneOf } from "djwsbridge/chat/elements/dom.js";
import { formatFull, formatTime } from "djwsbridge/chat/elements/time.js";
import { splitLinks } from "djwsbridge/chat/state/links.js";
import { ERASED, describeMark, initials } from "djwsbridge/chat/state/text.js";

/** What the person reads when a message could not be sent, by error code; else the server's own sentence. */
const FAILURES = /** @type {Record<string, string>} */ ({
  not_found: "You are no longer a member of this room.",
  timeout: "The server did not answer.",
  connection_lost: "The connection was lost.",
  busy: "The server is busy.",
});

const MARK_PATHS = Object.freeze({
  clock: "M9 1.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9M9 3.6V6l1.7 1",
  first: "M1.2 6.7 4.1 9.6 10.3 2.6",
  second: "M8.2 8.6 9.2 9.6 15.4 2.6",
});

/** @param {MessageItem} item @returns {HTMLElement} */
export function createMessage(item) {
  const body = make("div", { class: "message-body" });
  const time = make("time", { class: "message-time", datetime: item.created });
  const meta = make("span", { class: "message-meta" }, time, ...(item.own ? [createMark()] : []));
  const avatar = make("span", { class: `avatar ${toneOf(item.authorId)}`, "aria-hidden": "true" }, initials(item.author));
  return make(
    "div", { class: "message" },
    make("div", { class: "message-avatar" }, ...(item.own ? [] : [avatar])),
    make(
      "div", { class: "message-main" },
      make("div", { class: "message-author", dir: "auto" }, item.own ? "You" : item.author),
      make("div", { class: "message-row" }, make("div", { class: "bubble", dir: "auto" }, body, meta), make("div", { class: "message-state" })),
    ),
  );
}

/** @param {HTMLElement} element @param {MessageItem} item */
export function updateMessage(element, item) {
  element.classList.toggle("own", item.own);
  element.classList.toggle("first", item.first);
  element.dataset.state = item.state;
  if (item.seq !== null) element.dataset.seq = String(item.seq);
  showBody(element, item.body);
  const time = /** @type {HTMLTimeElement} */ (find(element, ".message-time"));
  time.dateTime = item.created;
  time.title = formatFull(item.created);
  setText(time, formatTime(item.created));
  if (item.own) showMark(find(element, ".state-mark"), item);
  showState(find(element, ".message-state"), item);
}

/** Show a text, or that there was one: a message that was erased leaves its place. @param {HTMLElement} element @param {string} text */
function showBody(element, text) {
  const body = find(element, ".message-body");
  element.classList.toggle("erased", text === "");
  if (text === "") setText(body, ERASED);
  else if (!body.hasChildNodes()) body.append(...linked(text));
}

/** A picture with a name: its change is no news that a screen reader would have to tell. */
function createMark() {
  return make("span", { class: "state-mark", role: "img" }, draw("0 0 17 12", MARK_PATHS));
}

/** @param {HTMLElement} mark @param {MessageItem} item */
function showMark(mark, { state, progress }) {
  const words = describeMark(state, progress);
  if (mark.title === words) return;
  mark.dataset.state = state;
  mark.title = words;
  mark.setAttribute("aria-label", words);
}

/** @param {HTMLElement} place @param {MessageItem} item */
function showState(place, item) {
  const isFailed = item.state === "failed";
  if (isFailed !== place.hasChildNodes()) place.replaceChildren(...(isFailed ? failure(item) : []));
}

/** @param {MessageItem} item */
function failure({ error, clientMessageId: id }) {
  const why = error ? FAILURES[error.code] ?? error.message : "";
  return [
    make("span", { class: "failure", title: why }, "Not sent", make("span", { class: "failure-why" }, why && ` · ${why}`)),
    make("button", { type: "button", class: "text-button", "data-retry": id }, "Retry"),
    make("button", { type: "button", class: "text-button quiet", "data-discard": id }, "Discard"),
  ];
}

/** @param {string} text @returns {Array<Node | string>} */
function linked(text) {
  return splitLinks(text).map(({ text: part, href }) => (href ? link(href, part) : part));
}

/** Make a link: a site opens beside the chat, a mail program opens no page at all. @param {string} href @param {string} text */
function link(href, text) {
  /** @type {Record<string, string>} */
  const beside = href.startsWith("mailto:") ? {} : { target: "_blank" };
  return make("a", { href, rel: "noopener noreferrer nofollow ugc", ...beside }, text);
}
