import assert from "node:assert/strict";
import { test } from "node:test";
import { toneOf } from "djwsbridge/chat/elements/dom.js";
import { keepDraft, readDraft } from "djwsbridge/chat/elements/drafts.js";

test("the tone of a person is the one that the server's templates choose", () => {
  const ids = [1, 2, 42, null, "6fa459ea-ee8a-3ca4-894e-db77e160355e"]; // tests/unit/chat/test_views.py has the same rows
  assert.deepEqual(ids.map(toneOf), ["tone-2", "tone-3", "tone-5", "tone-3", "tone-5"]);
});

/** Run with a storage of the tab, or with what the browser does when asked for it. */
function withStorage(get, run) {
  const before = Object.getOwnPropertyDescriptor(globalThis, "sessionStorage");
  Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get });
  try {
    run();
  } finally {
    if (before) Object.defineProperty(globalThis, "sessionStorage", before);
    else delete globalThis.sessionStorage;
  }
}

test("a draft is kept until it is empty", () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => kept.set(key, text), removeItem: (key) => kept.delete(key) };
  withStorage(() => storage, () => {
    assert.equal(readDraft("a"), "");
    keepDraft("a", "half a sent");
    assert.equal(readDraft("a"), "half a sent");
    keepDraft("a", "");
    assert.equal(kept.size, 0);
  });
});

test("where the browser allows no storage, or it is full, a draft is not kept and nothing breaks", () => {
  const refuse = () => {
    throw new DOMException("The operation is insecure.", "SecurityError");
  };
  for (const get of [refuse, () => ({ getItem: refuse, setItem: refuse, removeItem: refuse })]) {
    withStorage(get, () => {
      keepDraft("a", "text");
      keepDraft("a", "");
      assert.equal(readDraft("a"), "");
    });
  }
});
