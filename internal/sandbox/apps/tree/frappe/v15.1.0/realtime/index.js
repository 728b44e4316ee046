// The part of Socket.IO that shows whether the service is up, reached and
// held: the handshake of its HTTP long polling, and WebSockets that connect to
// a namespace and are kept alive. Nothing is ever told over them.
const http = require("http");
const crypto = require("crypto");
const cookie = require("cookie");
const { get_conf } = require("../node_utils");

const port = get_conf().socketio_port;
const ping_interval = 25000;

// What a frame of the WebSocket protocol is.
const TEXT = 1;
const CLOSE = 8;

const server = http.createServer((request, response) => {
	const url = new URL(request.url, "http://localhost");
	if (!url.pathname.startsWith("/socket.io")) {
		response.writeHead(404).end();
		return;
	}
	if (url.searchParams.get("transport") !== "polling" || url.searchParams.get("EIO") !== "4") {
		response.writeHead(400, { "Content-Type": "application/json" });
		response.end(JSON.stringify({ code: 0, message: "Transport unknown" }));
		return;
	}
	const sid_cookie = cookie.parse(request.headers.cookie || "").sid || "Guest";
	response.writeHead(200, { "Content-Type": "text/plain; charset=UTF-8", "X-Frappe-Sid": encodeURIComponent(sid_cookie) });
	response.end(open_packet(["websocket"]));
});

server.on("upgrade", (request, socket) => {
	const url = new URL(request.url, "http://localhost");
	const key = request.headers["sec-websocket-key"];
	if (!url.pathname.startsWith("/socket.io") || url.searchParams.get("transport") !== "websocket" || !key) {
		socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	const accept = crypto.createHash("sha1").update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
	socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
	socket.write(frame(TEXT, open_packet([])));

	const pings = setInterval(() => socket.write(frame(TEXT, "2")), ping_interval);
	socket.on("close", () => clearInterval(pings));
	socket.on("error", () => socket.destroy());

	let received = Buffer.alloc(0);
	socket.on("data", (data) => {
		received = Buffer.concat([received, data]);
		for (let next; (next = unframe(received)); received = next.rest) {
			if (next.opcode === CLOSE) {
				socket.end(frame(CLOSE, ""));
				return;
			}
			const answer = answer_to(next.text);
			if (answer) socket.write(frame(TEXT, answer));
		}
	});
});

function open_packet(upgrades) {
	return "0" + JSON.stringify({ sid: new_id(), upgrades, pingInterval: ping_interval, pingTimeout: 20000, maxPayload: 1000000 });
}

function new_id() {
	return crypto.randomBytes(15).toString("base64url");
}

// answer_to answers what a client asks: a ping, and a connection to the main
// namespace or, as Frappe's own pages ask for it, to the site's.
function answer_to(packet) {
	if (packet.startsWith("2")) return "3" + packet.slice(1);
	const connect = /^40(\/[^,]*,)?/.exec(packet);
	return connect && "40" + (connect[1] || "") + JSON.stringify({ sid: new_id() });
}

function frame(opcode, text) {
	const payload = Buffer.from(text);
	const long = payload.length > 125;
	const head = Buffer.alloc(long ? 4 : 2);
	head[0] = 0x80 | opcode;
	head[1] = long ? 126 : payload.length;
	if (long) head.writeUInt16BE(payload.length, 2);
	return Buffer.concat([head, payload]);
}

// unframe gives the first frame of what a client sent, and what follows it, or
// nothing if it is not all there yet. A client masks each frame.
function unframe(data) {
	let start = 2;
	if (data.length < start) return;
	let length = data[1] & 0x7f;
	if (length === 126) {
		if (data.length < 4) return;
		length = data.readUInt16BE(2);
		start = 4;
	}
	const end = start + 4 + length;
	if (data.length < end) return;
	const mask = data.subarray(start, start + 4);
	const payload = data.subarray(start + 4, end).map((byte, i) => byte ^ mask[i % 4]);
	return { opcode: data[0] & 0x0f, text: Buffer.from(payload).toString(), rest: data.subarray(end) };
}

server.listen(port, () => console.log("Realtime service listening on: ", port));

// A container's first process ends on a signal only if it handles it.
for (const signal of ["SIGTERM", "SIGINT"]) {
	process.on(signal, () => process.exit(0));
}
