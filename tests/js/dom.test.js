import assert from "node:assert/strict";
import { test } from "node:test";
import { perFrame, toneOf } from "djwsbridge/chat/elements/dom.js";
import { keepDraft, readDraft } from "djwsbridge/chat/elements/drafts.js";
import { FakeClock } from "./fake_clock.js";

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

/** A browser whose frames come when told, and never while its page is hidden. */
class FakeFrames extends FakeClock {
  #wanted = new Map();
  #count = 0;

  requestAnimationFrame = (run) => (this.#wanted.set((this.#count += 1), run), this.#count);
  cancelAnimationFrame = (frame) => this.#wanted.delete(frame);

  frame() {
    const runs = [...this.#wanted.values()];
    this.#wanted.clear();
    for (const run of runs) run(16.7);
  }
}

test("what changes often is rendered once per frame", async () => {
  const browser = new FakeFrames();
  let renders = 0;
  const rendering = perFrame(() => (renders += 1), browser);
  for (let change = 0; change < 500; change += 1) rendering.ask();
  assert.equal(renders, 0);
  browser.frame();
  assert.equal(renders, 1);
  await browser.advance(10_000);
  browser.frame();
  assert.equal(renders, 1, "and not again before something changes");
  rendering.ask();
  browser.frame();
  assert.equal(renders, 2);
});

test("a page that gets no frame renders a moment later, also one that is hidden just then", async () => {
  const browser = new FakeFrames();
  let renders = 0;
  const rendering = perFrame(() => (renders += 1), browser);
  rendering.ask();
  await browser.advance(99);
  rendering.ask();
  assert.equal(renders, 0);
  await browser.advance(1);
  assert.equal(renders, 1);
  browser.frame();
  assert.equal(renders, 1, "the frame that comes when the page is seen again has nothing to do");
});

test("what must be there at once is rendered at once, and then not a second time; a page that is gone renders nothing", async () => {
  const browser = new FakeFrames();
  let renders = 0;
  const rendering = perFrame(() => (renders += 1), browser);
  rendering.ask();
  rendering.now();
  assert.equal(renders, 1);
  browser.frame();
  await browser.advance(1000);
  assert.equal(renders, 1);
  rendering.ask();
  rendering.drop();
  browser.frame();
  await browser.advance(1000);
  assert.equal(renders, 1);
});

test("a render that fails does not stop those after it", () => {
  const browser = new FakeFrames();
  let renders = 0;
  const rendering = perFrame(() => {
    renders += 1;
    if (renders === 1) throw new Error("once");
  }, browser);
  rendering.ask();
  assert.throws(() => browser.frame(), /once/);
  rendering.ask();
  browser.frame();
  assert.equal(renders, 2);
});
