import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { ALICE, BOB, message, pageData, room } from "./chat_fixtures.js";
import { settle } from "./fake_clock.js";
import { FakePage } from "./fake_page.js";
import { FakeServer, WELCOME } from "./fake_server.js";

let server;
let page;

const sent = (seq) => ({ push: "message.sent", topic: "room.42", seq, data: message(seq) });
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => first + index);
const connected = (report) => ({ ok: { ...WELCOME, topics: { "room.42": report } } });
const shown = () => page.child("chat-timeline").renders.at(-1)[0].filter(({ kind }) => kind === "message");
const renders = () => ["chat-timeline", "chat-rooms", "chat-online"].map((each) => page.child(each).renders.length);

/** Lose the connection, and come back to what was missed. */
async function recover(seqs) {
  await server.close(1006);
  server.script.connect = connected({ epoch: "e", seq: seqs.at(-1), recovered: true, events: seqs.map(sent) });
  page.tell("online");
  await settle();
}

beforeEach(async () => {
  server = new FakeServer({
    "message.list": { ok: { messages: [], last_seq: 3 } }, "presence.list": { ok: { users: [ALICE, BOB] } },
    "room.mark_read": { ok: {} }, ack: { ok: {} },
  });
  server.script.connect = connected({ epoch: "e", seq: 3, recovered: false });
  page = new FakePage({ data: pageData(), server });
  await page.open();
  await settle();
  page.frame();
});

afterEach(() => page.close());

test("a recovery of 500 messages is rendered once", async () => {
  const before = renders();
  await recover(range(4, 503));
  page.frame();
  page.frame();
  const after = renders();
  assert.equal(shown().length, 503);
  assert.equal(document.title, "(500) Room 42");
  after.forEach((count, index) => assert.ok(count - before[index] <= 3, `${count - before[index]} renders`));
});

test("a reader at the end keeps a thousand messages and can load older ones; one who reads above keeps all", async () => {
  page.child("chat-timeline").atBottom = false;
  await recover(range(4, 1203));
  page.frame();
  assert.deepEqual([shown().length, page.child("chat-timeline").renders.at(-1)[1].hasOlder], [1203, false]);
  page.child("chat-timeline").atBottom = true;
  await server.push("message.sent", { seq: 1204, data: message(1204) });
  page.frame();
  assert.deepEqual([shown().length, shown()[0].seq, page.child("chat-timeline").renders.at(-1)[1].hasOlder], [1000, 205, true]);
});

test("one's own message is shown at once, and in sight", async () => {
  const { scrolls } = page.child("chat-timeline");
  page.app.dispatchEvent(new CustomEvent("chat-send", { cancelable: true, detail: "hello" }));
  assert.equal(shown().at(-1).body, "hello");
  assert.equal(page.child("chat-timeline").scrolls, scrolls + 1);
});

/** Press a key in a field, as a browser reports it. */
function press(field, key, { keyCode, isComposing = false }) {
  field.dispatchEvent(Object.assign(new Event("keydown", { cancelable: true }), { key, keyCode, isComposing, shiftKey: false }));
}

test("an Enter that an input method has consumed sends nothing, in whatever way the browser says so", () => {
  const sent = [];
  const composer = page.child("chat-composer");
  composer.addEventListener("chat-send", ({ detail }) => sent.push(detail));
  const field = composer.querySelector("textarea");
  field.value = "にほんご";
  press(field, "Enter", { keyCode: 229, isComposing: true }); // Chromium, Firefox
  press(field, "Enter", { keyCode: 13, isComposing: true });
  press(field, "Enter", { keyCode: 229 }); // Safari
  assert.deepEqual([sent, field.value], [[], "にほんご"]);
  press(field, "Enter", { keyCode: 13 });
  assert.deepEqual([sent, field.value], [["にほんご"], ""]);
});

test("a text that shows nothing stays in the field, and does not say that the person is writing", () => {
  const told = [];
  const composer = page.child("chat-composer");
  for (const type of ["chat-send", "chat-write"]) composer.addEventListener(type, () => told.push(type));
  const field = composer.querySelector("textarea");
  for (const text of ["", " ", "\u3164", "\u2800 \u2800"]) {
    field.value = text;
    field.dispatchEvent(new Event("input"));
    press(field, "Enter", { keyCode: 13 });
    assert.deepEqual([told, field.value], [[], text]);
  }
});

test("who leaves the room elsewhere cannot write, and who joins it again elsewhere can", async () => {
  const composer = page.child("chat-composer");
  const [field, button, note] = ["textarea", "button", ".composer-note"].map((each) => composer.querySelector(each));
  const canWrite = () => [field.disabled ?? false, button.attributes.has("disabled"), page.child(".leave").attributes.has("hidden")].every((each) => !each);
  const leave = () => server.push("room.left", { topic: "user.7", data: { room: 42 } });
  const join = () => server.push("room.joined", { topic: "user.7", data: { room: room(42, { last_seq: 3 }) } });
  await leave();
  assert.equal(field.disabled && button.attributes.has("disabled") && page.child(".leave").attributes.has("hidden"), true);
  assert.match(note.textContent, /left this room/);
  await join();
  assert.deepEqual([canWrite(), note.textContent, page.reloads], [true, "", 0]);
  field.value = "a".repeat(8001);
  await leave();
  await join();
  assert.deepEqual([field.disabled, button.attributes.has("disabled")], [false, true]);
  assert.match(note.textContent, /at most 8.000 characters/, "what is wrong with the text is said again");
  await server.push("member.joined", { data: { room: 42, user: { id: 9, name: "carol" } } });
  assert.match(note.textContent, /at most 8.000 characters/, "others come and go");
});

test("when the browser is another person's by now, the page is loaded anew", async () => {
  await server.close(1006);
  server.script.connect = { ok: { ...WELCOME, user: BOB, topics: {} } };
  page.tell("online");
  await settle();
  assert.equal(page.reloads, 1);
});

test("a page that is gone renders nothing", async () => {
  await server.push("message.sent", { seq: 4, data: message(4) });
  const before = renders();
  page.app.disconnectedCallback();
  page.frame();
  assert.deepEqual(renders(), before);
});
