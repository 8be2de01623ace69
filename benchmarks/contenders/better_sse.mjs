// better-sse on Node: one channel for all clients, as its documentation has it. Orders as in the package's docstring.
import { createServer } from "node:http";
import { createSocket } from "node:dgram";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The module stands in a folder of its own; its path is the argument.
const require = createRequire(pathToFileURL(process.argv[2] + "/"));
const { createChannel, createSession } = require("better-sse");

process.stdin.on("end", () => process.exit()).resume();

const channel = createChannel();
const text = () => "x".repeat(121) + "@" + process.hrtime.bigint().toString().padStart(19, "0");

const server = createServer(async (request, response) => {
    // No heartbeats while it is measured.
    channel.register(await createSession(request, response, { keepAlive: null }));
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
    const { port } = server.address();
    const orders = createSocket("udp4");
    orders.on("message", (order) => {
        for (let count = Number(order); count > 0; count--) {
            channel.broadcast(text(), "message");
        }
    });
    orders.bind(port, "127.0.0.1", () => console.log(port));
});
