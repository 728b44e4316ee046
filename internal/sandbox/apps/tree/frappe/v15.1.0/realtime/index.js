// Answers the handshake of Socket.IO's HTTP long polling, and nothing after
// it: enough to see that the service is up and reached.
const http = require("http");
const crypto = require("crypto");
const cookie = require("cookie");
const { get_conf } = require("../node_utils");

const port = get_conf().socketio_port;

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
	const sid = crypto.randomBytes(15).toString("base64url");
	response.end("0" + JSON.stringify({ sid, upgrades: ["websocket"], pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 }));
});

server.listen(port, () => console.log("Realtime service listening on: ", port));

// A container's first process ends on a signal only if it handles it.
for (const signal of ["SIGTERM", "SIGINT"]) {
	process.on(signal, () => process.exit(0));
}
