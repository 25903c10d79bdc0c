import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CommandError, decodeFrame, encodeCommand } from "djwsbridge/protocol.js";

const WIRE = JSON.parse(readFileSync(new URL("../wire/v1.json", import.meta.url), "utf8"));

test("wire: what the client encodes is what the server decodes", () => {
  for (const { text, frame } of WIRE.commands) {
    const { id, cmd, ...fields } = JSON.parse(text);
    const sent = JSON.parse(encodeCommand(id, cmd, fields));
    for (const [name, value] of Object.entries(sent)) assert.deepEqual(value, frame[name], text);
  }
});

test("wire: replies, errors and pushes of the server are read as they were meant", () => {
  for (const { id, ok, text } of WIRE.replies) assert.deepEqual(decodeFrame(text), { kind: "reply", id, ok, error: null });
  for (const { id, code, details, text } of WIRE.errors) {
    const reply = decodeFrame(text);
    const error = new CommandError(reply.error);
    assert.deepEqual([reply.id, error.code, error.details], [id, code, details]);
    assert.equal(typeof error.retryable, "boolean");
  }
  for (const { push, topic, seq, data, text } of WIRE.pushes) {
    assert.deepEqual(decodeFrame(text), { kind: "push", type: push, topic: topic ?? null, seq: seq ?? null, data });
  }
  for (const { code, text } of WIRE.farewells) {
    const { type, data } = decodeFrame(text);
    assert.deepEqual([type, data.code], ["error", code]);
  }
});
