import { address } from "./socket";

document.getElementById("app").textContent = `Frappe HR listens at ${address}`;
