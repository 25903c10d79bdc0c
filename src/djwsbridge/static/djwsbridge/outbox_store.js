// @ts-check
/** @import { OutboxRecord } from "djwsbridge/outbox.js" */

const VERSION = 1;
const STORE = "entries";

/**
 * @typedef {object} OutboxStore  Where an outbox keeps what is not confirmed.
 * @property {boolean} isLasting  Whether it outlives the page.
 * @property {() => Promise<OutboxRecord[]>} load  In no particular order.
 * @property {(record: OutboxRecord) => Promise<void>} put
 * @property {(clientMessageId: string) => Promise<void>} remove
 * @property {() => Promise<void>} clear
 */

/** Keeps entries as long as the page lives. @implements {OutboxStore} */
export class MemoryStore {
  isLasting = false;
  /** By client_message_id. @type {Map<string, OutboxRecord>} */
  #records = new Map();

  async load() {
    return [...this.#records.values()];
  }

  /** @param {OutboxRecord} record */
  async put(record) {
    this.#records.set(record.client_message_id, record);
  }

  /** @param {string} clientMessageId */
  async remove(clientMessageId) {
    this.#records.delete(clientMessageId);
  }

  async clear() {
    this.#records.clear();
  }
}

/**
 * Keeps entries through reloads and crashes, for all tabs; in memory where the browser has no lasting store, as in some
 * private windows.
 * @implements {OutboxStore}
 */
export class LastingStore {
  isLasting = true;
  #opening;
  /** What is used where nothing lasts. */
  #memory = new MemoryStore();

  /** @param {{name: string, factory?: IDBFactory}} options  Another person needs another name. */
  constructor({ name, factory }) {
    this.#opening = openDatabase(name, factory).catch(() => {
      this.isLasting = false;
      return null;
    });
  }

  /** @returns {Promise<OutboxRecord[]>} */
  async load() {
    const database = await this.#opening;
    return database ? promise(database.transaction(STORE).objectStore(STORE).getAll()) : this.#memory.load();
  }

  /** @param {OutboxRecord} record */
  async put(record) {
    const database = await this.#opening;
    await (database ? change(database, (store) => store.put(record)) : this.#memory.put(record));
  }

  /** @param {string} clientMessageId */
  async remove(clientMessageId) {
    const database = await this.#opening;
    await (database ? change(database, (store) => store.delete(clientMessageId)) : this.#memory.remove(clientMessageId));
  }

  async clear() {
    const database = await this.#opening;
    await (database ? change(database, (store) => store.clear()) : this.#memory.clear());
  }
}

/** @param {IDBDatabase} database @param {(store: IDBObjectStore) => void} run @returns {Promise<void>} when it is on the disk. */
function change(database, run) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    run(transaction.objectStore(STORE));
  });
}

/** @param {string} name @param {IDBFactory} [factory] @returns {Promise<IDBDatabase>} */
async function openDatabase(name, factory = globalThis.indexedDB) { // a mere look at it throws where storage is blocked
  const request = factory.open(name, VERSION);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "client_message_id" });
  const database = await promise(request);
  database.onversionchange = () => database.close(); // a newer page wants to change it; this one goes on in memory
  return database;
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function promise(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
