import cookie from "cookie";
import { announce, brand } from "./brand";

window.frappe = { brand, user: cookie.parse(document.cookie).user_id || "Guest" };
announce("frappe");
