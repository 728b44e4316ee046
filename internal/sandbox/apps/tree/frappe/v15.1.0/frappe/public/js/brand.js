// What other apps import by its path: frappe/public/js/brand.js.
export const brand = { name: "Frappe", colour: "#171717" };

export function announce(what) {
	document.documentElement.dataset[what] = "loaded";
}
