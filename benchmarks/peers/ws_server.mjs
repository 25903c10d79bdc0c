// ws as its documentation shows a broadcast, with a set of sockets for each room. It authenticates nobody.
import { createRequire } from "node:module";

const require = createRequire(process.env.BENCH_NPM + "/");
const { WebSocketServer } = require("ws");

const rooms = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });

server.on("connection", (socket, request) => {
  if (!rooms.has(request.url)) rooms.set(request.url, new Set());
  const room = rooms.get(request.url);
  room.add(socket);
  socket.on("close", () => room.delete(socket));
  socket.on("message", (data) => {
    for (const member of room) member.send(data, { binary: false });
  });
});
