import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Outbox, OutboxFullError } from "djwsbridge/outbox.js";
import { CommandError, CommandTimeoutError, ConnectionLostError } from "djwsbridge/protocol.js";
import { FakeClock, settle } from "./fake_clock.js";

let clock;
let outbox;
let calls;
let answers;

beforeEach(() => {
  clock = new FakeClock();
  calls = [];
  answers = [];
  outbox = new Outbox({
    clock,
    random: () => 0.5,
    send: (entry) => {
      calls.push(entry.client_message_id);
      return new Promise((resolve, reject) => answers.push({ resolve, reject }));
    },
  });
});

const add = (...ids) => ids.forEach((id) => outbox.add({ client_message_id: id, body: id, created: "2026-01-01T00:00:00Z" }));
const view = () => outbox.entries.map(({ client_message_id, state }) => `${client_message_id} ${state}`);
async function answer(result) {
  const { resolve, reject } = answers.shift();
  result instanceof Error ? reject(result) : resolve(result);
  await settle();
}
const refusal = (code, details = {}) => new CommandError({ code, message: code, ...details });

test("entries go out one by one, in order", async () => {
  add("a", "b", "c");
  assert.deepEqual(calls, [], "nothing goes out before the connection is there");
  outbox.setOnline(true);
  assert.deepEqual(view(), ["a sending", "b waiting", "c waiting"]);
  await answer({ seq: 1 });
  await answer({ seq: 2 });
  await answer({ seq: 3 });
  assert.deepEqual(calls, ["a", "b", "c"]);
  assert.deepEqual(view(), []);
});

test("a confirmed entry is announced with its result", async () => {
  const sent = [];
  outbox.addEventListener("sent", ({ detail }) => sent.push([detail.entry.client_message_id, detail.result.seq]));
  outbox.setOnline(true);
  add("a");
  await answer({ seq: 5 });
  assert.deepEqual(sent, [["a", 5]]);
});

test("a lost connection keeps the entry first and sends it again with the same id", async () => {
  outbox.setOnline(true);
  add("a", "b");
  outbox.setOnline(false);
  await answer(new ConnectionLostError());
  assert.deepEqual(view(), ["a waiting", "b waiting"]);
  outbox.setOnline(true);
  await answer({ seq: 1 });
  assert.deepEqual(calls, ["a", "a", "b"]);
});

test("a retryable error is retried after the back-off, nothing overtakes", async () => {
  outbox.setOnline(true);
  add("a", "b");
  await answer(refusal("rate_limited", { retry_after_ms: 3000 }));
  await clock.advance(3249);
  assert.deepEqual(calls, ["a"]);
  await clock.advance(1);
  assert.deepEqual(calls, ["a", "a"]);
  await answer(new CommandTimeoutError());
  await clock.advance(500);
  assert.deepEqual(calls, ["a", "a", "a"]);
});

test("after a rate limit the outbox goes slowly until it is empty", async () => {
  outbox.setOnline(true);
  add("a", "b", "c");
  await answer(refusal("rate_limited", { retry_after_ms: 1000 }));
  await clock.advance(1250);
  await answer({});
  assert.deepEqual(calls, ["a", "a"]);
  await clock.advance(600);
  await answer({});
  await clock.advance(600);
  await answer({});
  assert.deepEqual(calls, ["a", "a", "b", "c"]);
  add("d", "e");
  await answer({});
  assert.deepEqual(calls.slice(4), ["d", "e"]);
});

test("after five attempts the person decides; the next entry goes on", async () => {
  outbox.setOnline(true);
  add("a", "b");
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await answer(refusal("busy"));
    await clock.advance(20_000);
  }
  assert.deepEqual(view(), ["a failed", "b sending"]);
  assert.equal(outbox.entries[0].error.code, "busy");
});

test("a final error fails the entry at once and keeps its text", async () => {
  outbox.setOnline(true);
  add("a", "b");
  await answer(refusal("not_found"));
  assert.deepEqual(view(), ["a failed", "b sending"]);
  assert.equal(outbox.entries[0].body, "a");
});

test("close code 1009 fails the entry that was in flight", async () => {
  outbox.setOnline(true);
  add("a");
  outbox.setOnline(false);
  await answer(new ConnectionLostError(1009));
  assert.deepEqual(view(), ["a failed"]);
  assert.equal(outbox.entries[0].error.code, "too_large");
});

test("retry queues a failed entry again, last and with the same id; discard forgets it", async () => {
  outbox.setOnline(true);
  add("a", "b", "c");
  await answer(refusal("forbidden"));
  outbox.retry("a");
  outbox.retry("c"); // not failed: nothing happens
  assert.deepEqual(view(), ["b sending", "c waiting", "a waiting"]);
  await answer({});
  await answer({});
  await answer(refusal("forbidden"));
  assert.deepEqual(calls, ["a", "b", "c", "a"]);
  outbox.discard("a");
  assert.deepEqual(view(), []);
});

test("its own push settles an entry, even when the reply never comes", async () => {
  outbox.setOnline(true);
  add("a", "b");
  outbox.settle("a");
  assert.deepEqual(view(), ["b sending"], "the next one does not wait for the reply");
  await answer(refusal("rate_limited", { retry_after_ms: 9000 }));
  assert.deepEqual(view(), ["b sending"], "what became of the settled one does not matter");
  add("c");
  await answer({ seq: 2 });
  assert.deepEqual(calls, ["a", "b", "c"]);
});

test("when the connection stops for good everything is failed and can be retried", async () => {
  outbox.setOnline(true);
  add("a", "b");
  outbox.setOnline(false);
  outbox.failAll(refusal("revoked"));
  await answer(new ConnectionLostError());
  assert.deepEqual(view(), ["a failed", "b failed"]);
  outbox.setOnline(true);
  outbox.retry("a");
  assert.deepEqual(calls, ["a", "a"]);
});

test("an unexpected exception counts as retryable", async () => {
  outbox.setOnline(true);
  add("a");
  await answer(new TypeError("network"));
  await clock.advance(250);
  assert.deepEqual(calls, ["a", "a"]);
});

test("the outbox is bounded", () => {
  for (let count = 0; count < 100; count += 1) add(`m${count}`);
  assert.throws(() => add("one too many"), OutboxFullError);
});
