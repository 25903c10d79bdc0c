export const ALICE = { id: 7, name: "alice" };
export const BOB = { id: 8, name: "bob" };

export function message(seq, fields = {}) {
  return {
    room: 42, seq, sender: BOB, body: `m${seq}`, created: "2026-01-01T10:00:00Z", client_message_id: `id-${seq}`, ...fields,
  };
}

export function room(id, fields = {}) {
  return {
    id, slug: `room-${id}`, title: `Room ${id}`, kind: "group", url: `/chat/room-${id}/`, is_member: true,
    last_seq: 0, read_seq: 0, unread: 0, peer: null, last_message: null, ...fields,
  };
}

export function pageData(fields = {}) {
  return {
    socket_path: "/ws/bridge/", api: "/chat/api/", user: ALICE, room: room(42, { last_seq: 3, read_seq: 3 }),
    rooms: [room(42, { last_seq: 3, read_seq: 3 })], peer: null, messages: [message(1), message(2), message(3)], last_seq: 3,
    members: [ALICE, BOB], ...fields,
  };
}
