import { announce, brand } from "frappe/public/js/brand";

window.erpnext = { title: `ERPNext on ${brand.name}`, customerGroups: true };
announce("erpnext");
