import assert from "node:assert/strict";
import { test } from "node:test";
import { toneOf } from "djwsbridge/chat/elements/dom.js";

test("the tone of a person is the one that the server's templates choose", () => {
  const ids = [1, 2, 42, null, "6fa459ea-ee8a-3ca4-894e-db77e160355e"]; // tests/unit/chat/test_views.py has the same rows
  assert.deepEqual(ids.map(toneOf), ["tone-2", "tone-3", "tone-5", "tone-3", "tone-5"]);
});
