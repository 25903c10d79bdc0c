import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOSE_CODES, ERROR_CODES, RETRYABLE, closeCodeRow } from "djwsbridge/codes.js";

test("every retryable code is an error code, and no code comes twice", () => {
  assert.equal(new Set(ERROR_CODES).size, ERROR_CODES.length);
  for (const code of RETRYABLE) assert.ok(ERROR_CODES.includes(code), code);
});

test("a final close code says what a person can do", () => {
  for (const [code, row] of Object.entries(CLOSE_CODES)) {
    if (["stop", "new_credential"].includes(row.reaction)) assert.ok(row.advice, `${code} ${row.name}`);
  }
});

test("an unknown close code reconnects below 4500 and stops from there on", () => {
  assert.equal(closeCodeRow(1006).reaction, "reconnect");
  assert.equal(closeCodeRow(4477).reaction, "reconnect");
  assert.equal(closeCodeRow(4577).reaction, "stop");
});
