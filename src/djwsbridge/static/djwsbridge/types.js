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
/**
 * @typedef {object} Push
 * @property {"push"} kind
 * @property {string} type
 * @property {string | null} topic
 * @property {number | null} seq
 * @property {any} data
 * @property {string} [epoch]  The life of the topic's log; only the first push of a topic has it.
 */

/**
 * @typedef {object} Welcome  The answer to `connect`.
 * @property {string} connection_id
 * @property {User} user
 * @property {number} heartbeat_ms
 * @property {Record<string, TopicReport>} topics  All that this connection listens to.
 * @property {Record<string, number>} [announced]  The newest seqs of the topics for which there was no room: of these the
 *   push `topics.moved` tells newer ones. Subscribe to one to get its pushes.
 */

/**
 * @typedef {object} TopicReport  What the server says of a topic when a client comes back to it.
 * @property {boolean} recovered  Whether `events` is all that was missed, or its first page.
 * @property {string} [epoch]  The life of the topic's log; missing when it has none. Empty before the first event.
 * @property {number} [seq]  The newest event's number.
 * @property {Array<Record<string, any>>} [events]  The missed pushes, ascending.
 * @property {boolean} [more]  Whether there are further ones.
 * @property {boolean} [omitted]  Whether there is more to say of the topic than went into this answer.
 * @property {string | null} [reason]  Why nothing was recovered, if the server says.
 * @property {Receipt[]} [receipts]  Of a room: what its members have.
 */

/**
 * @typedef {object} Receipt
 * @property {UserId} user
 * @property {number} delivered_seq
 * @property {number} [read_seq]  Missing when that person does not tell.
 */
/** @typedef {{topic: string, receipts: Receipt[]}} TopicReceipts */

/**
 * @typedef {object} Beginning  Pushes of a topic go on after `seq`; for what was before, load a snapshot. `begin` on first
 *   contact, and on each connection for a topic without a log; `reset` when what was missed cannot be said.
 * @property {string} topic
 * @property {string | null} epoch  Null when the topic has no log.
 * @property {number | null} seq
 * @property {string | null} reason  Of a reset, if the server says.
 */

/** @typedef {{ticket?: string, token?: string}} Credential  Empty when a cookie or header already says who it is. */

/**
 * @typedef {object} StateDetail  What a `state` event of the connection carries.
 * @property {"connecting" | "online" | "waiting" | "stopped"} state
 * @property {Welcome} [welcome]  When online.
 * @property {number} [delayMs]  When waiting: until the next attempt.
 * @property {number | null} [closeCode]  When waiting or stopped: the close code, or null.
 * @property {string} [reason]  When waiting or stopped: the name of the close code.
 * @property {string} [message]  When waiting or stopped: the server's own sentence, if it sent one.
 * @property {string} [advice]  When stopped: what a person can do.
 */

/**
 * @typedef {object} Refusal  Why no socket opens, as the site says by HTTP.
 * @property {"origin" | "host" | "origin_missing" | "unreached"} reason  `unreached`: the site would let the page in.
 * @property {string} message  A sentence for the person, or with Django's DEBUG for the developer.
 */

/**
 * @typedef {object} ConnectionOptions
 * @property {string} url  `wss://…` of the endpoint.
 * @property {(options: {fresh: boolean}) => Credential | Promise<Credential>} [credential]  Asked before each
 *   attempt; `fresh` after the server refused the last one. Leave it out where a cookie is enough; throw a
 *   BridgeError that is not retryable when the person has to log in again.
 * @property {boolean} [isRenewable]  False when there is no other credential than the first.
 * @property {Record<string, [string, number]>} [cursors]  What the application has of each topic: epoch and seq.
 * @property {WebSocketClass} [WebSocket]
 * @property {Clock} [clock]
 * @property {() => number} [random]
 */

/**
 * @typedef {object} Question  What to ask about a topic, and what to do with the outcome.
 * @property {() => Promise<Record<string, any>>} send
 * @property {(report: Record<string, any>) => void} answered
 * @property {(error: unknown) => void} refused  Called when another try would not help.
 */

/**
 * @typedef {object} RecoveryOptions
 * @property {(cmd: string, fields: Record<string, unknown>) => Promise<Record<string, any>>} request
 * @property {(type: "push" | "begin" | "reset" | "receipts", detail: any) => void} tell
 * @property {(topic: string) => void} replaced  Called when the log has another history than was told.
 * @property {(topic: string, seq: number) => void} advanced  Called when everything up to seq has been told.
 * @property {Clock} clock
 * @property {() => number} random
 * @property {Record<string, [string, number]>} cursors  What the application has already, by topic.
 */

export {};
