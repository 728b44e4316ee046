// The port is a setting of the bench, which must be there when this is built.
import { socketio_port } from "../../../../sites/common_site_config.json";

export const address = `${window.location.hostname}:${socketio_port}`;
