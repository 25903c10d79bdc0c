import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ChatApi } from "djwsbridge/chat/state/api.js";
import { layoutTimeline } from "djwsbridge/chat/state/layout.js";
import { Presence } from "djwsbridge/chat/state/presence.js";
import { nameInAddress, personAddress, roomAddress } from "djwsbridge/chat/state/people.js";
import { Receipts } from "djwsbridge/chat/state/receipts.js";
import { RoomList } from "djwsbridge/chat/state/rooms.js";
import { describeStatus } from "djwsbridge/chat/state/status.js";
import { checkBody, describeMark, initials, isVisible } from "djwsbridge/chat/state/text.js";
import { Timeline } from "djwsbridge/chat/state/timeline.js";
import { ALICE, BOB, message, room } from "./chat_fixtures.js";

const seqs = (timeline) => timeline.messages.map(({ seq }) => seq);

test("timeline: messages are ordered by seq and shown once; what comes while older ones are fetched waits", () => {
  const timeline = new Timeline({ messages: [message(3), message(2)], lastSeq: 3 });
  timeline.hold();
  timeline.receive(message(7));
  timeline.receive(message(6));
  assert.deepEqual(seqs(timeline), [2, 3]);
  timeline.absorb([message(4)], { isAll: false });
  timeline.absorb([message(5), message(6)]);
  assert.deepEqual(seqs(timeline), [2, 3, 4, 5, 6, 7]);
  timeline.receive(message(7));
  timeline.receive(message(9));
  assert.deepEqual(seqs(timeline), [2, 3, 4, 5, 6, 7, 9], "another event has 8");
});

test("timeline: one's own confirmed messages are shown after the others until their push is here", () => {
  const timeline = new Timeline({ messages: [message(3)], lastSeq: 3 });
  timeline.echo(message(6));
  timeline.echo(message(5));
  timeline.echo(message(5));
  assert.deepEqual(timeline.echoes.map(({ seq }) => seq), [5, 6]);
  timeline.receive(message(4));
  timeline.receive(message(5));
  timeline.echo(message(5));
  assert.deepEqual([seqs(timeline), timeline.echoes.map(({ seq }) => seq)], [[3, 4, 5], [6]]);
});

test("timeline: older messages go before the first, until there are none", () => {
  const timeline = new Timeline({ messages: [message(5), message(6)], lastSeq: 6 });
  assert.equal(timeline.hasOlder, true);
  timeline.prepend([message(3), message(4), message(5)]);
  assert.deepEqual(seqs(timeline), [3, 4, 5, 6]);
  assert.equal(timeline.first, 3);
  timeline.prepend([]);
  assert.equal(timeline.hasOlder, false, "a late member's history ends before seq 1");
});

test("timeline: it announces changes, and nothing else", () => {
  const timeline = new Timeline({ messages: [message(1)], lastSeq: 1 });
  let changes = 0;
  timeline.addEventListener("change", () => (changes += 1));
  timeline.receive(message(1));
  timeline.absorb([]);
  assert.equal(changes, 0);
  timeline.receive(message(2));
  assert.equal(changes, 1);
});

test("timeline: an empty page goes on after the server's last seq", () => {
  const timeline = new Timeline({ messages: [], lastSeq: 7 });
  timeline.receive(message(8));
  assert.deepEqual(seqs(timeline), [8]);
  timeline.reset([message(20)], 20);
  assert.deepEqual(seqs(timeline), [20]);
});

const layout = (options) =>
  layoutTimeline({ messages: [], entries: [], user: ALICE, isOnline: false, readSeq: null, dayOf: (iso) => iso.slice(0, 10), ...options });
const shape = (items) => items.map((item) => (item.kind === "message" ? `${item.first ? "first " : ""}${item.body}` : item.kind));

test("layout: messages of one author within five minutes are one group, days stand apart", () => {
  const at = (seq, sender, created) => message(seq, { sender, created: `2026-01-${created}:00Z` });
  const items = layout({
    messages: [at(1, BOB, "01T10:00"), at(2, BOB, "01T10:04"), at(3, BOB, "01T10:10"), at(4, ALICE, "01T10:10"), at(5, ALICE, "02T00:01")],
  });
  assert.deepEqual(shape(items), ["day", "first m1", "m2", "first m3", "first m4", "day", "first m5"]);
  assert.deepEqual(items.filter(({ kind }) => kind === "message").map(({ own }) => own), [false, false, false, true, true]);
});

test("layout: the first unread message of somebody else is marked once", () => {
  const messages = [message(1, { sender: BOB }), message(2, { sender: ALICE }), message(3, { sender: BOB }), message(4, { sender: BOB })];
  assert.deepEqual(shape(layout({ messages, readSeq: 1 })), ["day", "first m1", "first m2", "unread", "first m3", "m4"]);
  assert.equal(layout({ messages, readSeq: 4 }).some(({ kind }) => kind === "unread"), false);
});

test("layout: a waiting message keeps its key when it is confirmed, and is never shown twice", () => {
  const entry = { client_message_id: "id-7", body: "m7", created: "2026-01-01T10:00:00Z", state: "sending", error: null };
  const confirmed = message(7, { sender: ALICE, client_message_id: "id-7" });
  const before = layout({ entries: [entry] });
  const between = layout({ messages: [confirmed], entries: [entry] });
  const keys = (items) => items.map(({ key }) => key);
  assert.deepEqual(before.map(({ state }) => state), [undefined, "sending"]);
  assert.deepEqual(keys(between), keys(before));
  assert.equal(between[1].state, "sent");
});

test("layout: what waits behind another is on its way while online", () => {
  const entry = { client_message_id: "id-7", body: "m7", created: "2026-01-01T10:00:00Z", state: "queued", error: null };
  const states = [true, false].map((isOnline) => layout({ entries: [entry], isOnline })[1].state);
  assert.deepEqual(states, ["sending", "queued"]);
});

test("layout: one's own messages say how far they have come, confirmed ones that wait for their push come after", () => {
  const own = (seq) => message(seq, { sender: ALICE });
  const progressOf = (seq) => ({ state: seq <= 1 ? "read" : seq <= 2 ? "delivered" : "sent" });
  const items = layout({ messages: [own(1), message(2), own(2)], echoes: [own(4)], progressOf });
  assert.deepEqual(items.slice(1).map(({ body, state }) => [body, state]), [["m1", "read"], ["m2", "sent"], ["m2", "delivered"], ["m4", "sent"]]);
});

test("layout: another person's message with the same client id is no confirmation", () => {
  const entry = { client_message_id: "id-7", body: "mine", created: "2026-01-01T10:00:00Z", state: "queued", error: null };
  const items = layout({ messages: [message(7, { sender: BOB, client_message_id: "id-7" })], entries: [entry] });
  assert.deepEqual(shape(items), ["day", "first m7", "first mine"]);
});

test("rooms: messages count as unread, one's own never, and reading takes them back", () => {
  const rooms = new RoomList({ rooms: [room(42, { last_seq: 5, read_seq: 5 })], user: ALICE });
  rooms.receive(message(6, { sender: BOB }));
  rooms.receive(message(6, { sender: BOB }));
  rooms.receive(message(7, { sender: BOB }));
  assert.equal(rooms.get(42).unread, 2);
  assert.equal(rooms.unread, 2);
  rooms.read(42, 6);
  rooms.read(42, 3);
  assert.equal(rooms.get(42).unread, 1);
  rooms.receive(message(8, { sender: ALICE }));
  assert.equal(rooms.get(42).unread, 0);
  rooms.receive(message(1, { room: 99 }));
  assert.equal(rooms.get(99), null);
});

test("rooms: a new room comes first; a group that was left can be joined again, a private one is gone", () => {
  const rooms = new RoomList({ rooms: [room(1), room(2, { kind: "direct" })], user: ALICE });
  rooms.put(room(3));
  assert.deepEqual(rooms.rooms.map(({ id }) => id), [3, 1, 2]);
  rooms.put(room(1, { title: "new" }));
  assert.deepEqual(rooms.rooms.map(({ id }) => id), [3, 1, 2]);
  rooms.leave(1);
  rooms.leave(2);
  rooms.leave(77);
  assert.deepEqual(rooms.rooms.map(({ id, is_member }) => [id, is_member]), [[3, true], [1, false]]);
});

test("rooms: one's own groups, the one spoken in last first, then those that nobody has spoken in", () => {
  const at = (id, created, fields = {}) => room(id, { last_message: created && message(1, { room: id, created: `2026-01-01T${created}Z` }), ...fields });
  const rooms = new RoomList({ user: ALICE, rooms: [
    room(1), at(2, "10:00:00"), at(3, "10:00:00.5"), at(4, "11:00:00", { kind: "direct" }), room(5, { is_member: false }), room(6),
  ] });
  const ids = () => rooms.recent.map(({ id }) => id);
  assert.deepEqual(ids(), [3, 2, 1, 6]);
  rooms.receive(message(1, { room: 6, created: "2026-01-01T12:00:00Z" }));
  assert.deepEqual(ids(), [6, 3, 2, 1]);
});

test("receipts: how many of the readers have a message, and have read it", () => {
  const receipts = new Receipts();
  assert.deepEqual(receipts.progressOf("room.42", 3, [8, 9]), { state: "sent", delivered: 0, read: 0, of: 2 });
  receipts.take("room.42", [{ user: 8, delivered_seq: 3, read_seq: 3 }, { user: 9, delivered_seq: 2 }]);
  assert.deepEqual(receipts.progressOf("room.42", 3, [8, 9]), { state: "sent", delivered: 1, read: 1, of: 2 });
  assert.deepEqual(receipts.progressOf("room.42", 2, [8, 9]), { state: "delivered", delivered: 2, read: 1, of: 2 });
});

test("text: a mark says how far a message has come, and of several readers how many have it", () => {
  const say = (state, delivered, read, of) => describeMark(state, { delivered, read, of });
  assert.equal(say("sent", 0, 0, 2), "Sent");
  assert.equal(say("sent", 1, 0, 2), "Delivered to 1 of 2");
  assert.equal(say("delivered", 2, 0, 2), "Delivered");
  assert.equal(say("delivered", 2, 1, 2), "Delivered, read by 1 of 2");
  assert.equal(say("sent", 1, 1, 2), "Delivered to 1 of 2, read by 1");
  assert.equal(say("read", 2, 2, 2), "Read");
  assert.equal(describeMark("queued", null), "Waiting to be sent");
});

test("presence: lists and changes by topic; a person is online while any topic has them", () => {
  const presence = new Presence();
  presence.change("room.1", { user: BOB, state: "online" });
  assert.deepEqual(presence.users(), [], "a change of an unknown list says nothing");
  presence.load("room.1", [BOB, ALICE]);
  presence.load("room.2", [BOB]);
  assert.deepEqual(presence.users("room.1").map(({ name }) => name), ["alice", "bob"]);
  presence.change("room.1", { user: BOB, state: "offline" });
  assert.equal(presence.isOnline(BOB.id), true);
  presence.change("room.2", { user: BOB, state: "offline" });
  assert.equal(presence.isOnline(BOB.id), false);
  presence.change("room.2", { user: BOB, state: "online" });
  assert.deepEqual(presence.users().map(({ name }) => name), ["alice", "bob"]);
  presence.keep(["room.2"]);
  assert.deepEqual(presence.users().map(({ name }) => name), ["bob"]);
});

test("status: every state has its words, and a final one says what to do", () => {
  const say = (detail, options = {}) => describeStatus(detail, { wasOnline: true, networkDown: false, ...options }).text;
  assert.equal(say({ state: "connecting" }, { wasOnline: false }), "Connecting…");
  assert.equal(say({ state: "online" }), "Connected");
  assert.equal(say({ state: "queued" }), "Reconnecting…");
  assert.equal(say({ state: "connecting" }), "Reconnecting…");
  assert.equal(say({ state: "queued" }, { networkDown: true }), "Offline");
  assert.equal(say({ state: "online" }, { networkDown: true }), "Connected", "the browser may be wrong: the server has answered");
  assert.deepEqual(describeStatus({ state: "online" }, { wasOnline: true, networkDown: true, inDoubt: true }), {
    tone: "busy", text: "Checking…", help: "", action: "",
  });
  assert.equal(say({ state: "waiting" }, { networkDown: true, inDoubt: true }), "Offline");
  const crowded = describeStatus({ state: "waiting", reason: "too_many_connections" }, { wasOnline: false, networkDown: false });
  assert.equal(crowded.text, "Waiting…");
  assert.match(crowded.help, /Close another tab/);
  const refused = { wasOnline: false, networkDown: false, refusal: "The site does not let this page connect." };
  for (const state of ["connecting", "waiting"]) {
    assert.deepEqual(describeStatus({ state }, refused), { tone: "offline", text: "Not let in", help: refused.refusal, action: "" });
  }
  assert.equal(describeStatus({ state: "online" }, refused).text, "Connected");
  assert.equal(describeStatus({ state: "waiting" }, { ...refused, networkDown: true }).text, "Offline");
  for (const advice of ["login", "reload", "close_tabs", "contact", undefined]) {
    assert.match(describeStatus({ state: "stopped", advice }, { wasOnline: true, networkDown: false }).help, /\w+\.$/);
  }
});

test("text: the limit is the server's", () => {
  assert.equal(checkBody("a".repeat(8000)), null);
  assert.match(checkBody("a".repeat(8001)), /at most 8.000 characters; this one has 8.001/);
  assert.equal(checkBody("👩".repeat(8000)), null, "counted in characters, not in code units");
});

test("text: what the server calls invisible is not sent", () => {
  const vectors = JSON.parse(readFileSync(new URL("../wire/text.json", import.meta.url), "utf8"));
  for (const text of vectors.invisible) assert.equal(isVisible(text), false, JSON.stringify(text));
  for (const text of vectors.visible) assert.equal(isVisible(text), true, JSON.stringify(text));
  for (const [first, last] of vectors.default_ignorable) {
    for (let code = first; code <= last; code += 1) assert.equal(isVisible(String.fromCodePoint(code)), false, code.toString(16));
  }
});

test("text: initials of any name", () => {
  assert.deepEqual(["alice", "Ada Lovelace", "j.r.r_tolkien", "👩x", "", "…"].map(initials), ["A", "AL", "JT", "👩", "?", "…"]);
});

test("people: any name is one segment of an address, the one that the server makes", () => {
  for (const { name, segment, quoted } of JSON.parse(readFileSync(new URL("../wire/names.json", import.meta.url), "utf8"))) {
    assert.equal(nameInAddress(name), quoted);
    assert.equal(decodeURIComponent(quoted), segment);
    const url = new URL(`/chat/direct/${nameInAddress(name)}/`, "https://example.test");
    assert.equal(url.pathname.split("/").length, 5, url.href);
    assert.deepEqual([url.search, url.hash], ["", ""]);
  }
});

test("people: a room is beside the page that is open, whatever address it has elsewhere", () => {
  const bases = { roomsUrl: "/app/de/chat/", directUrl: "/app/de/chat/direct/" };
  const address = (fields) => roomAddress(room(1, { url: "/chat/elsewhere/", ...fields }), bases);
  assert.equal(address({ slug: "клуб" }), "/app/de/chat/%D0%BA%D0%BB%D1%83%D0%B1/");
  assert.equal(address({ peer: { id: 8, name: "AC/DC" } }), "/app/de/chat/direct/AC~2fDC/");
  assert.equal(address({ slug: "direct-1", peer: { id: null, name: "Deleted user" } }), "/app/de/chat/direct-1/");
  assert.equal(address({ slug: "direct-2", peer: { id: 8, name: "" } }), "/app/de/chat/direct-2/");
});

test("people: a person without a name has no address", () => {
  const address = (fields) => personAddress({ id: 8, name: "bob", ...fields }, { directUrl: "/chat/direct/" });
  assert.deepEqual([address({}), address({ name: "~" })], ["/chat/direct/bob/", "/chat/direct/~7e/"]);
  assert.deepEqual([address({ name: "" }), address({ id: null })], [null, null]);
});

test("api: addresses, the CSRF token, and errors with their code", async () => {
  const calls = [];
  let answer = { ok: true, status: 200, json: async () => ({ messages: [], last_seq: 0 }) };
  const api = new ChatApi({ base: "/chat/api/", csrfToken: "t", fetch: async (...call) => (calls.push(call), answer) });
  await api.listMessages(42, 7, 50);
  await api.listRooms();
  await api.openDirect(8);
  await api.updateMe({ read_receipts: false });
  assert.deepEqual(calls.map(([url, { method }]) => `${method} ${url}`), [
    "GET /chat/api/rooms/42/messages/?before=7&limit=50", "GET /chat/api/rooms/", "POST /chat/api/direct/", "PATCH /chat/api/me/",
  ]);
  assert.deepEqual([calls[2][1].headers["X-CSRFToken"], calls[2][1].body], ["t", '{"user":8}']);
  assert.equal(calls[0][1].headers["X-CSRFToken"], undefined);
  answer = { ok: false, status: 404, json: async () => ({ error: { code: "not_found", message: "Not found.", retryable: false } }) };
  await assert.rejects(api.listRooms(), { code: "not_found", retryable: false });
  answer = { ok: false, status: 502, json: async () => JSON.parse("<html>") };
  await assert.rejects(api.listRooms(), { code: "internal", retryable: true });
});

test("timeline: the oldest of very many are let go, and loading older ones brings them back", () => {
  const timeline = new Timeline({ messages: [message(1)], lastSeq: 1 });
  timeline.absorb(Array.from({ length: 999 }, (_, index) => message(index + 2)));
  timeline.trim();
  assert.deepEqual([timeline.first, timeline.hasOlder], [1, false], "a thousand are kept");
  timeline.receive(message(1001));
  timeline.receive(message(1002));
  timeline.trim();
  assert.deepEqual([timeline.messages.length, timeline.first, timeline.last, timeline.hasOlder], [1000, 3, 1002, true]);
  timeline.prepend([message(1), message(2)]);
  assert.deepEqual([timeline.messages.length, timeline.first, timeline.hasOlder], [1002, 1, false]);
});
