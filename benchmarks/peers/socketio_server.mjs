// Socket.IO as its documentation shows it: rooms, and users known by a JWT.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const require = createRequire(process.env.BENCH_NPM + "/");
const { Server } = require("socket.io");
const jwt = require("jsonwebtoken");

const http = createServer();
const io = new Server(http);

io.use((socket, next) => {
  const { token, room } = socket.handshake.auth;
  try {
    socket.data.user = jwt.verify(token, process.env.BENCH_SECRET, { algorithms: ["HS256"] }).user_id;
    socket.data.room = `room:${room}`;
    next();
  } catch {
    next(new Error("unauthorized"));
  }
});

io.on("connection", (socket) => {
  socket.join([socket.data.room, `user:${socket.data.user}`]);
  socket.on("message", (data) => io.to(socket.data.room).emit("message", data));
  socket.on("direct", (to, data, acknowledge) => {
    io.to(`user:${to}`).emit("message", data);
    acknowledge("ok");
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1", 4096);
