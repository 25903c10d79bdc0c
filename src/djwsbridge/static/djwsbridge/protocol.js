// @ts-check
/**
 * Wire protocol `djwsbridge.v1`: encode a command, decode a frame. No I/O.
 *
 * BridgeError              .code, .retryable
 * ├── CommandError         the server answered `error`
 * ├── CommandTimeoutError  no answer in time; the outcome is unknown
 * ├── ConnectionLostError  the connection went away before the answer; the outcome is unknown
 * └── BadFrameError        the server sent something that is no frame
 */
/** @import { ErrorBody, Push, Reply } from "djwsbridge/types.js" */
import { RETRYABLE } from "djwsbridge/codes.js";

export const SUBPROTOCOL = "djwsbridge.v1";

export class BridgeError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{retryable: boolean}} options
   */
  constructor(code, message, { retryable }) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

export class CommandError extends BridgeError {
  /** @param {ErrorBody} body */
  constructor({ code, message, retryable, ...details }) {
    super(code, message, { retryable: retryable ?? RETRYABLE.includes(code) });
    /** What else the error says, such as `retry_after_ms`.
     * @type {Record<string, unknown>} */
    this.details = details;
  }
}

export class CommandTimeoutError extends BridgeError {
  constructor() {
    super("timeout", "The server did not answer in time.", { retryable: true });
  }
}

export class ConnectionLostError extends BridgeError {
  /** @param {number | null} closeCode */
  constructor(closeCode = null) {
    super("connection_lost", "The connection was lost.", { retryable: true });
    /** The close code, or null when the connection was down already or simply dropped. */
    this.closeCode = closeCode;
  }
}

export class BadFrameError extends BridgeError {
  /** @param {string} message */
  constructor(message) {
    super("bad_frame", message, { retryable: false });
  }
}

/** How many milliseconds the server asks to wait before a retry. @param {unknown} error */
export function retryAfter(error) {
  return error instanceof CommandError ? Number(error.details.retry_after_ms ?? 0) : 0;
}

/**
 * Encode one command.
 * @param {number} id  Unique on this connection.
 * @param {string} cmd
 * @param {Record<string, unknown>} fields
 * @returns {string}
 */
export function encodeCommand(id, cmd, fields) {
  return JSON.stringify({ ...fields, id, cmd });
}

/**
 * Decode one frame of the server.
 * @param {unknown} text
 * @returns {Reply | Push}
 * @throws {BadFrameError} when it is neither a reply nor a push.
 */
export function decodeFrame(text) {
  if (typeof text !== "string") throw new BadFrameError("The server sent a binary frame.");
  const frame = parse(text);
  if (!isObject(frame)) throw new BadFrameError("The server sent a frame that is no object.");
  return typeof frame.push === "string" ? decodePush(frame) : decodeReply(frame);
}

/**
 * Write a UUID (version 4); `crypto.randomUUID` is missing on pages served over plain HTTP.
 * @param {Uint8Array} bytes  Sixteen random ones.
 * @returns {string}
 */
export function uuid4(bytes) {
  const b = Uint8Array.from(bytes);
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  const hex = Array.from(b, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** @param {string} text @returns {unknown} */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new BadFrameError("The server sent a frame that is no JSON.");
  }
}

/** Read a push that is an object already, as in a recovery. @param {Record<string, any>} frame @returns {Push} */
export function decodePush(frame) {
  const { push: type, topic = null, epoch, seq = null, data = {} } = frame;
  return { kind: "push", type, topic, seq, data, ...(epoch === undefined ? {} : { epoch }) };
}

/** @param {Record<string, any>} frame @returns {Reply} */
function decodeReply(frame) {
  const id = frame.id ?? null;
  if (id !== null && !Number.isSafeInteger(id)) throw new BadFrameError("The server sent a reply with a bad id.");
  if (isObject(frame.ok)) return { kind: "reply", id, ok: frame.ok, error: null };
  const error = frame.error;
  if (isObject(error) && typeof error.code === "string") {
    return { kind: "reply", id, ok: null, error: /** @type {ErrorBody} */ ({ message: "", ...error }) };
  }
  throw new BadFrameError("The server sent a frame that is neither a reply nor a push.");
}

/** @param {unknown} value @returns {value is Record<string, any>} */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
