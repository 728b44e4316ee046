const fs = require("fs");
const path = require("path");

// get_conf gives the bench's configuration, overlaid with the environment.
function get_conf() {
	const conf = { socketio_port: 9000 };
	const file = path.resolve(__dirname, "..", "..", "sites", "common_site_config.json");
	if (fs.existsSync(file)) {
		for (const [key, value] of Object.entries(JSON.parse(fs.readFileSync(file, "utf8")))) {
			if (value) conf[key] = value;
		}
	}
	conf.socketio_port = process.env.FRAPPE_SOCKETIO_PORT || conf.socketio_port;
	return conf;
}

module.exports = { get_conf };
