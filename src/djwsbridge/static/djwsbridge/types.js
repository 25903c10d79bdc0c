// @ts-check
/**
 * The shapes that cross module borders. Types only; nothing here runs.
 */

/** @typedef {number | string} UserId  An integer, or a UUID with a custom user model. */
/** @typedef {{id: UserId, name: string}} User */

/**
 * @typedef {object} Clock  Where the client gets its time; tests pass their own.
 * @property {() => number} now  Monotonic milliseconds.
 * @property {(run: () => void, delayMs: number) => unknown} setTimeout
 * @property {(timer: any) => void} clearTimeout
 */

/**
 * @typedef {object} WebSocketLike  The part of a WebSocket that the client uses.
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 * @property {((event: any) => void) | null} onopen
 * @property {((event: any) => void) | null} onmessage
 * @property {((event: any) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 */
/** @typedef {new (url: string, protocols: string[]) => WebSocketLike} WebSocketClass */

/** @typedef {{code: string, message: string, retryable: boolean, [detail: string]: unknown}} ErrorBody */
/** @typedef {{kind: "reply", id: number | null, ok: Record<string, any> | null, error: ErrorBody | null}} Reply */
/** @typedef {{kind: "push", type: string, topic: string | null, seq: number | null, data: any}} Push */

/**
 * @typedef {object} Session  The answer to `connect`.
 * @property {string} connection_id
 * @property {User} user
 * @property {number} heartbeat_ms
 * @property {Record<string, {recovered: boolean}>} topics
 */

/** @typedef {{ticket?: string, token?: string}} Credential  Empty when a cookie or header already says who it is. */

/**
 * @typedef {object} StateDetail  What a `state` event of the connection carries.
 * @property {"connecting" | "online" | "waiting" | "stopped"} state
 * @property {Session} [session]  When online.
 * @property {number} [delayMs]  When waiting: until the next attempt.
 * @property {number | null} [closeCode]  When waiting or stopped: the close code, or null.
 * @property {string} [reason]  When waiting or stopped: the name of the close code.
 * @property {string} [message]  When waiting or stopped: the server's own sentence, if it sent one.
 * @property {string} [advice]  When stopped: what a person can do.
 */

export {};
