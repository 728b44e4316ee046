// Bundles src/main.js into ../hrms/public/frontend and writes the page that
// loads it there.
const fs = require("fs");
const path = require("path");
const esbuild = require("esbuild");

const base = (process.argv.find((arg) => arg.startsWith("--base=")) || "--base=/").slice("--base=".length);
const target = path.resolve(__dirname, "..", "hrms", "public", "frontend");

fs.rmSync(target, { recursive: true, force: true });
const { metafile } = esbuild.buildSync({
	entryPoints: [path.join(__dirname, "src", "main.js")],
	entryNames: "assets/[name].[hash]",
	outdir: target,
	bundle: true,
	format: "esm",
	minify: true,
	metafile: true,
});
const script = Object.keys(metafile.outputs).find((output) => output.endsWith(".js"));
const page = fs.readFileSync(path.join(__dirname, "index.html"), "utf8");
const address = base + path.relative(target, path.resolve(script));
fs.writeFileSync(path.join(target, "index.html"), page.replace("/src/main.js", address));
console.log(`built ${address}`);
