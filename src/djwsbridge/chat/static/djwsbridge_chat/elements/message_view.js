// @ts-check
/** One message on the page. */
/** @import { MessageItem } from "djwsbridge/chat/state/layout.js" */
import { find, make, setText, toneOf } from "djwsbridge/chat/elements/dom.js";
import { formatFull, formatTime } from "djwsbridge/chat/elements/time.js";
import { initials, splitLinks } from "djwsbridge/chat/state/text.js";

/** What the person reads when a message could not be sent, by error code; else the server's own sentence. */
const FAILURES = /** @type {Record<string, string>} */ ({
  not_found: "You are no longer a member of this room.",
  timeout: "The server did not answer.",
  connection_lost: "The connection was lost.",
  busy: "The server is busy.",
});

/** @param {MessageItem} item @returns {HTMLElement} */
export function createMessage(item) {
  const body = make("div", { class: "message-body" }, ...linked(item.body));
  const time = make("time", { class: "message-time", datetime: item.created });
  const avatar = make("span", { class: `avatar ${toneOf(item.authorId)}`, "aria-hidden": "true" }, initials(item.author));
  return make(
    "div", { class: "message" },
    make("div", { class: "message-avatar" }, ...(item.own ? [] : [avatar])),
    make(
      "div", { class: "message-main" },
      make("div", { class: "message-author", dir: "auto" }, item.own ? "You" : item.author),
      make("div", { class: "message-row" }, make("div", { class: "bubble", dir: "auto" }, body, time), make("div", { class: "message-state" })),
    ),
  );
}

/** @param {HTMLElement} element @param {MessageItem} item */
export function updateMessage(element, item) {
  element.classList.toggle("own", item.own);
  element.classList.toggle("first", item.first);
  element.dataset.state = item.state;
  if (item.seq !== null) element.dataset.seq = String(item.seq);
  const time = /** @type {HTMLTimeElement} */ (find(element, ".message-time"));
  time.dateTime = item.created;
  time.title = formatFull(item.created);
  setText(time, formatTime(item.created));
  showState(find(element, ".message-state"), item);
}

/** @param {HTMLElement} place @param {MessageItem} item */
function showState(place, item) {
  if (place.dataset.state === item.state) return;
  place.dataset.state = item.state;
  place.replaceChildren();
  if (item.state === "sending") place.append("Sending…");
  if (item.state === "waiting") place.append("Waiting…");
  if (item.state === "failed") place.append(...failure(item));
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
  return splitLinks(text).map(({ text: part, href }) =>
    href ? make("a", { href, rel: "noopener noreferrer nofollow ugc", target: "_blank" }, part) : part,
  );
}
