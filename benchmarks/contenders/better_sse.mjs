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

// The sessions of /tokens, each with a timer of its own.
const timers = new Map();
const feed = (session, seconds) => {
    const push = () => session.push(text(), "message");
    const begin = () => timers.set(session, setInterval(push, seconds * 1000));
    clearTimeout(timers.get(session));
    // Timers that begin together do not stay together.
    timers.set(session, seconds ? setTimeout(begin, Math.random() * seconds * 1000) : undefined);
};

const server = createServer(async (request, response) => {
    // No heartbeats while it is measured.
    const session = await createSession(request, response, { keepAlive: null });
    if (request.url.startsWith("/tokens")) {
        timers.set(session, undefined);
        session.on("disconnected", () => {
            clearTimeout(timers.get(session));
            timers.delete(session);
        });
    } else {
        channel.register(session);
    }
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
    const { port } = server.address();
    const orders = createSocket("udp4");
    orders.on("message", (order) => {
        const name = order.toString();
        if (name.endsWith("/s")) {
            const rate = parseInt(name);
            for (const session of timers.keys()) {
                feed(session, rate && 1 / rate);
            }
            return;
        }
        for (let count = Number(order); count > 0; count--) {
            channel.broadcast(text(), "message");
        }
    });
    orders.bind(port, "127.0.0.1", () => console.log(port));
});
