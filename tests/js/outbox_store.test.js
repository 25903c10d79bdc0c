import assert from "node:assert/strict";
import { test } from "node:test";
import { LastingStore } from "djwsbridge/outbox_store.js";

const RECORD = { client_message_id: "a", lane: "room 1", target: { room: 1 }, body: "a", created: "2026-01-01T00:00:00Z", order: 1, state: "queued", error: null };
function deny() {
  throw new DOMException("The operation is insecure.", "SecurityError");
}

async function assertKeepsInMemory(store) {
  await store.put(RECORD);
  assert.equal(store.isLasting, false, "the person is warned before the page goes");
  assert.deepEqual(await store.load(), [RECORD]);
  await store.remove("a");
  assert.deepEqual(await store.load(), []);
  await store.put(RECORD);
  await store.clear();
  assert.deepEqual(await store.load(), []);
}

test("a database that is denied leaves the memory", () => assertKeepsInMemory(new LastingStore({ name: "test", factory: { open: deny } })));

test("a browser without databases leaves the memory", () => assertKeepsInMemory(new LastingStore({ name: "test" })));

test("a browser that denies even the look at its databases leaves the memory", async (context) => {
  context.after(() => delete globalThis.indexedDB);
  Object.defineProperty(globalThis, "indexedDB", { get: deny, configurable: true });
  await assertKeepsInMemory(new LastingStore({ name: "test" }));
});
