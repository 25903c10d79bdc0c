// @ts-check
/** The public names of the client. */
export { Backoff } from "djwsbridge/backoff.js";
export { systemClock } from "djwsbridge/clock.js";
export { CLOSE_CODES, ERROR_CODES, RETRYABLE, closeCodeRow } from "djwsbridge/codes.js";
export { Connection } from "djwsbridge/connection.js";
export { Outbox, OutboxFullError } from "djwsbridge/outbox.js";
export { LastingStore, MemoryStore } from "djwsbridge/outbox_store.js";
export {
  BadFrameError, BridgeError, CommandError, CommandTimeoutError, ConnectionLostError, SUBPROTOCOL, uuid4,
} from "djwsbridge/protocol.js";
export { watchRefusals } from "djwsbridge/refusals.js";
export { Tabs } from "djwsbridge/tabs.js";
export { TopicLog } from "djwsbridge/topic.js";
