import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Outbox, OutboxFullError } from "djwsbridge/outbox.js";
import { MemoryStore } from "djwsbridge/outbox_store.js";
import { CommandError, CommandTimeoutError, ConnectionLostError } from "djwsbridge/protocol.js";
import { FakeBrowser } from "./fake_browser.js";
import { FakeClock, settle } from "./fake_clock.js";

let clock;
let outbox;
let calls;
let answers;

function open(options = {}) {
  const made = new Outbox({
    clock,
    random: () => 0.5,
    send: (entry) => {
      calls.push(entry.client_message_id);
      return new Promise((resolve, reject) => answers.push({ resolve, reject, entry }));
    },
    ...options,
  });
  made.open();
  return made;
}

beforeEach(() => {
  clock = new FakeClock();
  calls = [];
  answers = [];
  outbox = open();
});

const entry = (id, room = 1) => ({ client_message_id: id, lane: `room ${room}`, target: { room }, body: id, created: "2026-01-01T00:00:00Z" });
async function add(...ids) {
  for (const id of ids) outbox.add(entry(id));
  await settle();
}
async function setOnline(online, options) {
  outbox.setOnline(online, options);
  await settle();
}
const view = (box = outbox) => box.entries.map(({ client_message_id, state }) => `${client_message_id} ${state}`);
async function answer(result) {
  const { resolve, reject, entry: { body, target } } = answers.shift();
  result instanceof Error ? reject(result) : resolve({ room: target.room, body, ...result });
  await settle();
}
const refusal = (code, details = {}) => new CommandError({ code, message: code, ...details });

test("entries go out one by one, in order", async () => {
  await add("a", "b", "c");
  assert.deepEqual(calls, [], "nothing goes out before the connection is there");
  await setOnline(true);
  assert.deepEqual(view(), ["a sending", "b queued", "c queued"]);
  await answer({ seq: 1 });
  await answer({ seq: 2 });
  await answer({ seq: 3 });
  assert.deepEqual(calls, ["a", "b", "c"]);
  assert.deepEqual(view(), []);
});

test("a confirmed entry is announced with its result", async () => {
  const sent = [];
  outbox.addEventListener("sent", ({ detail }) => sent.push([detail.entry.client_message_id, detail.result.seq]));
  await setOnline(true);
  await add("a");
  await answer({ seq: 5 });
  assert.deepEqual(sent, [["a", 5]]);
});

test("a lost connection keeps the entry first and sends it again with the same id", async () => {
  await setOnline(true);
  await add("a", "b");
  await setOnline(false);
  await answer(new ConnectionLostError());
  assert.deepEqual(view(), ["a queued", "b queued"]);
  await setOnline(true);
  await answer({ seq: 1 });
  assert.deepEqual(calls, ["a", "a", "b"]);
});

test("a retryable error is retried after the back-off, nothing overtakes", async () => {
  await setOnline(true);
  await add("a", "b");
  await answer(refusal("rate_limited", { retry_after_ms: 3000 }));
  await clock.advance(3249);
  assert.deepEqual(calls, ["a"]);
  await clock.advance(1);
  assert.deepEqual(calls, ["a", "a"]);
  await answer(new CommandTimeoutError());
  await clock.advance(500);
  assert.deepEqual(calls, ["a", "a", "a"]);
});

test("who is told twice to go slowly does so until the outbox is empty", async () => {
  await setOnline(true);
  await add("a", "b", "c", "d");
  await answer(refusal("rate_limited", { retry_after_ms: 1000 }));
  await clock.advance(1250);
  await answer({});
  assert.deepEqual(calls, ["a", "a", "b"]);
  await answer(refusal("rate_limited", { retry_after_ms: 1000 }));
  await clock.advance(1250);
  await answer({});
  assert.deepEqual(calls.slice(3), ["b"]);
  await clock.advance(600);
  await answer({});
  await clock.advance(600);
  await answer({});
  assert.deepEqual(calls.slice(4), ["c", "d"]);
  await add("e", "f");
  await answer({});
  assert.deepEqual(calls.slice(6), ["e", "f"]);
});

test("after sixty refusals the person decides; the next entry goes on", async () => {
  await setOnline(true);
  await add("a", "b");
  for (let attempt = 0; attempt < 60; attempt += 1) {
    await answer(refusal("busy"));
    await clock.advance(20_000);
  }
  assert.deepEqual(view(), ["a failed", "b sending"]);
  assert.equal(outbox.entries[0].error.code, "busy");
});

test("a final error fails the entry at once and keeps its text", async () => {
  await setOnline(true);
  await add("a", "b");
  await answer(refusal("not_found"));
  assert.deepEqual(view(), ["a failed", "b sending"]);
  assert.equal(outbox.entries[0].body, "a");
});

test("close code 1009 fails the largest of those that were in flight", async () => {
  await setOnline(true);
  outbox.add(entry("short", 1));
  outbox.add(entry("the longest of all", 2));
  outbox.add(entry("medium", 3));
  await settle();
  await setOnline(false, { closeCode: 1009 });
  for (let each = 0; each < 3; each += 1) await answer(new ConnectionLostError(1009));
  assert.deepEqual(view(), ["short queued", "the longest of all failed", "medium queued"]);
  assert.equal(outbox.entries[1].error.code, "too_large");
});

test("retry queues a failed entry again, last and with the same id; discard forgets it", async () => {
  await setOnline(true);
  await add("a", "b", "c");
  await answer(refusal("forbidden"));
  outbox.retry("a");
  outbox.retry("c"); // not failed: nothing happens
  await settle();
  assert.deepEqual(view(), ["b sending", "c queued", "a queued"]);
  await answer({});
  await answer({});
  await answer(refusal("forbidden"));
  assert.deepEqual(calls, ["a", "b", "c", "a"]);
  outbox.discard("a");
  assert.deepEqual(view(), []);
});

test("its own push settles an entry, even when the reply never comes", async () => {
  await setOnline(true);
  await add("a", "b");
  outbox.settle("a", { room: 1, body: "another text" });
  assert.deepEqual(view(), ["a sending", "b queued"], "the id was used for something else");
  outbox.settle("a", { room: 1, body: "a" });
  await settle();
  assert.deepEqual(view(), ["b sending"], "the next one does not wait for the reply");
  await answer(refusal("rate_limited", { retry_after_ms: 9000 }));
  assert.deepEqual(view(), ["b sending"], "what became of the settled one does not matter");
  await add("c");
  await answer({ seq: 2 });
  assert.deepEqual(calls, ["a", "b", "c"]);
});

test("lost connections are no refusals: a message outlives any number of them", async () => {
  await add("a");
  for (let attempt = 0; attempt < 30; attempt += 1) {
    await setOnline(true);
    await setOnline(false);
    await answer(new ConnectionLostError(1006));
  }
  assert.deepEqual(view(), ["a queued"]);
});

test("lanes do not wait for each other", async () => {
  await setOnline(true);
  outbox.add(entry("a", 1));
  outbox.add(entry("b", 1));
  outbox.add(entry("c", 2));
  await settle();
  assert.deepEqual(calls, ["a", "c"]);
  await answer(refusal("busy"));
  await answer({});
  assert.deepEqual(view(), ["a queued", "b queued"]);
});

test("what an earlier page has left is sent, in its order and with its ids", async () => {
  const store = new MemoryStore();
  outbox = open({ store });
  await add("a", "b");
  await setOnline(true);
  await answer(refusal("forbidden"));
  const next = open({ store });
  await settle();
  assert.deepEqual(view(next), ["a failed", "b queued"]);
  assert.deepEqual(next.entries[0].error, { code: "forbidden", message: "forbidden" });
  next.retry("a");
  next.setOnline(true);
  await settle();
  assert.deepEqual(calls, ["a", "b", "b"]);
});

test("a store that fails loses nothing that the page has", async () => {
  const broken = () => Promise.reject(new Error("quota"));
  outbox = open({ store: { isLasting: true, load: broken, put: broken, remove: broken, clear: broken } });
  await setOnline(true);
  await add("a", "b");
  assert.equal(outbox.isSafe, false, "the person is warned before the page goes");
  await answer({});
  await answer({});
  assert.deepEqual([calls, view(), outbox.isSafe], [["a", "b"], [], true]);
});

test("logging out leaves nothing behind, in no tab", async () => {
  const store = new MemoryStore();
  const browser = new FakeBrowser();
  outbox = open({ store, tabs: browser.tab() });
  const other = open({ store, tabs: browser.tab() });
  await add("a", "b");
  await setOnline(true);
  assert.deepEqual(view(other), ["a queued", "b queued"]);
  await outbox.clear();
  await settle();
  assert.deepEqual([await store.load(), view(), view(other)], [[], [], []]);
  await answer({});
  other.setOnline(true);
  await settle();
  assert.deepEqual(calls, ["a"]);
});

test("two tabs: one sends, the other hears of it; nothing is sent twice", async () => {
  const store = new MemoryStore();
  const browser = new FakeBrowser();
  outbox = open({ store, tabs: browser.tab() });
  const other = open({ store, tabs: browser.tab() });
  const sent = [];
  other.addEventListener("sent", ({ detail }) => sent.push(detail.result.seq));
  await add("a");
  other.add(entry("b"));
  await settle();
  assert.deepEqual([view(), view(other)], [["a queued", "b queued"], ["a queued", "b queued"]]);
  await setOnline(true);
  other.setOnline(true);
  await settle();
  assert.deepEqual(calls, ["a"]);
  await answer({ seq: 1 });
  await answer({ seq: 2 });
  assert.deepEqual([calls, sent], [["a", "b"], [1, 2]]);
  assert.deepEqual([view(), view(other), await store.load()], [[], [], []]);
});

test("two tabs: when the sending one is closed, the other goes on with the same id", async () => {
  const store = new MemoryStore();
  const browser = new FakeBrowser();
  const tab = browser.tab();
  outbox = open({ store, tabs: tab });
  const other = open({ store, tabs: browser.tab() });
  await add("a", "b");
  await setOnline(true);
  other.setOnline(true);
  await settle();
  browser.close(tab);
  await settle();
  assert.deepEqual(calls, ["a", "a"]);
  answers.shift();
  await answer({});
  await answer({});
  assert.deepEqual([calls, view(other)], [["a", "a", "b"], []]);
});

for (const locks of ["none", "denied"]) {
  test(`two tabs, locks ${locks}: at worst the same id goes out twice, and is confirmed once`, async () => {
    const store = new MemoryStore();
    const browser = new FakeBrowser({ locks });
    outbox = open({ store, tabs: browser.tab() });
    const other = open({ store, tabs: browser.tab() });
    await add("a");
    await setOnline(true);
    other.setOnline(true);
    await settle();
    await answer({});
    assert.deepEqual([view(), view(other)], [[], []]);
  });
}

test("where locks are denied, each message ends in a confirmation or a failure", async () => {
  outbox = open({ tabs: new FakeBrowser({ locks: "denied" }).tab() });
  const failed = [];
  outbox.addEventListener("failed", ({ detail }) => failed.push(detail.entry.client_message_id));
  await setOnline(true);
  await add("a", "b", "c");
  await answer({});
  await answer(refusal("forbidden"));
  await setOnline(false);
  await answer(new ConnectionLostError());
  await setOnline(true);
  await answer({});
  assert.deepEqual([calls, failed, view()], [["a", "b", "c", "c"], ["b"], ["b failed"]]);
});

test("a store that throws at once loses nothing that the page has", async () => {
  const deny = () => {
    throw new DOMException("The operation is insecure.", "SecurityError");
  };
  outbox = open({ store: { isLasting: true, load: deny, put: deny, remove: deny, clear: deny } });
  await setOnline(true);
  await add("a", "b");
  assert.equal(outbox.isSafe, false, "the person is warned before the page goes");
  await answer({});
  await answer({});
  assert.deepEqual([calls, view(), outbox.isSafe], [["a", "b"], [], true]);
  await add("c");
  await outbox.clear();
  assert.deepEqual(view(), []);
});

test("an unexpected exception counts as retryable", async () => {
  await setOnline(true);
  await add("a");
  await answer(new TypeError("network"));
  await clock.advance(250);
  assert.deepEqual(calls, ["a", "a"]);
});

test("the outbox is bounded", () => {
  for (let count = 0; count < 100; count += 1) outbox.add(entry(`m${count}`));
  assert.throws(() => outbox.add(entry("one too many")), OutboxFullError);
});
