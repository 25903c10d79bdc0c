import assert from "node:assert/strict";
import { test } from "node:test";
import { BadFrameError, CommandError, decodeFrame, encodeCommand, uuid4 } from "djwsbridge/protocol.js";

test("a command carries its id and name, whatever the fields are called", () => {
  const frame = JSON.parse(encodeCommand(3, "message.send", { id: 99, cmd: "x", room: 42 }));
  assert.deepEqual(frame, { id: 3, cmd: "message.send", room: 42 });
});

test("a reply, an error and a push are told apart", () => {
  assert.deepEqual(decodeFrame('{"id":3,"ok":{"seq":7}}'), { kind: "reply", id: 3, ok: { seq: 7 }, error: null });
  const refused = decodeFrame('{"id":null,"error":{"code":"bad_json","message":"no","retryable":false}}');
  assert.equal(refused.id, null);
  assert.equal(refused.error.code, "bad_json");
  assert.deepEqual(decodeFrame('{"push":"message.sent","topic":"room.42","seq":7,"data":{"body":"hi"}}'), {
    kind: "push", type: "message.sent", topic: "room.42", seq: 7, data: { body: "hi" },
  });
  assert.deepEqual(decodeFrame('{"push":"signal"}'), { kind: "push", type: "signal", topic: null, seq: null, data: {} });
});

test("anything else is a BadFrameError", () => {
  const frames = ["", "{", "null", "[]", "1", '"x"', "{}", '{"id":1}', '{"id":"1","ok":{}}', '{"id":1,"ok":[]}',
    '{"id":1,"error":"x"}', '{"id":1,"error":{}}', '{"push":5}', new ArrayBuffer(2), undefined];
  for (const frame of frames) assert.throws(() => decodeFrame(frame), BadFrameError, String(frame));
});

test("an error without `retryable` takes it from the table", () => {
  assert.equal(new CommandError({ code: "busy", message: "" }).retryable, true);
  assert.equal(new CommandError({ code: "not_found", message: "" }).retryable, false);
  assert.deepEqual(new CommandError({ code: "rate_limited", message: "", retryable: true, retry_after_ms: 5 }).details,
    { retry_after_ms: 5 });
});

test("uuid4 writes version and variant into any bytes", () => {
  assert.equal(uuid4(new Uint8Array(16)), "00000000-0000-4000-8000-000000000000");
  assert.equal(uuid4(new Uint8Array(16).fill(255)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
});
