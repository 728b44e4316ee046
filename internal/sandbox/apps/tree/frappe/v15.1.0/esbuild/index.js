// Bundles the *.bundle.js and *.bundle.css files under each app's public
// folder into sites/assets/APP/dist (which is a link into the app), and notes
// in sites/assets/assets.json and assets-rtl.json which file each bundle became.
//
//	node esbuild [--production] [--apps a,b] [--skip_frappe] [--run-build-command]
const fs = require("fs");
const path = require("path");
const { execFileSync } = require("child_process");
const esbuild = require("esbuild");
const rtlcss = require("rtlcss");

const bench = path.resolve(__dirname, "..", "..", "..");
const sites = path.join(bench, "sites");
const assets = path.join(sites, "assets");
const flags = process.argv.slice(2);
const benchApps = fs.readFileSync(path.join(sites, "apps.txt"), "utf8").split("\n").filter(Boolean);

// Frappe 15 goes by apps.txt, and 16 by folders with these files.
const folders = fs.readdirSync(path.join(bench, "apps")).filter((app) =>
	["hooks.py", "modules.txt", "patches.txt"].every((name) => fs.existsSync(path.join(bench, "apps", app, app, name)))
);
if ([...benchApps].sort().join() !== folders.sort().join()) {
	throw new Error(`apps.txt has ${benchApps}, and the folders are those of ${folders}`);
}

function option(name) {
	const at = flags.findIndex((flag) => flag === name || flag.startsWith(name + "="));
	if (at < 0) return "";
	return flags[at].includes("=") ? flags[at].split("=")[1] : flags[at + 1] || "";
}

const production = flags.includes("--production");
const apps = (option("--apps") ? option("--apps").split(",") : benchApps).filter(
	(app) => app !== "frappe" || !flags.includes("--skip_frappe")
);

function sources(folder) {
	if (!fs.existsSync(folder)) return [];
	return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
		const full = path.join(folder, entry.name);
		if (entry.isDirectory()) return ["node_modules", "dist"].includes(entry.name) ? [] : sources(full);
		return /\.bundle\.(js|css)$/.test(entry.name) ? [full] : [];
	});
}

// entries gives output name -> source file, for one kind of output folder.
function entries(extension, folder) {
	const found = {};
	for (const app of apps) {
		for (const file of sources(path.join(bench, "apps", app, app, "public"))) {
			if (path.extname(file) === extension) found[`${app}/dist/${folder}/${path.basename(file, extension)}`] = file;
		}
	}
	return found;
}

const mirrored = {
	name: "rtl",
	setup(build) {
		build.onLoad({ filter: /\.css$/ }, async (args) => ({
			contents: rtlcss.process(await fs.promises.readFile(args.path, "utf8")),
			loader: "css",
		}));
	},
};

async function bundle(entryPoints, plugins = []) {
	const result = await esbuild.build({
		entryPoints,
		entryNames: "[dir]/[name].[hash]",
		outdir: assets,
		target: ["es2017"],
		bundle: true,
		metafile: true,
		sourcemap: true,
		minify: production,
		// An app may import from any app's modules, and from any app by its path.
		nodePaths: benchApps.flatMap((app) => {
			const root = path.join(bench, "apps", app);
			return [path.join(root, "node_modules"), root].filter(fs.existsSync);
		}),
		plugins,
	});
	for (const output of Object.keys(result.metafile.outputs)) removeOlder(output);
	return result.metafile.outputs;
}

// removeOlder removes what earlier builds made of the same bundle.
function removeOlder(output) {
	if (output.endsWith(".map")) return;
	const [, stem] = path.basename(output).match(/^(.*\.bundle)\.[^.]+\.(?:js|css)$/);
	for (const name of fs.readdirSync(path.dirname(output))) {
		if (name.startsWith(stem + ".") && !name.startsWith(path.basename(output))) {
			fs.unlinkSync(path.join(path.dirname(output), name));
		}
	}
}

function note(outputs, file, prefix) {
	const full = path.join(assets, file);
	const noted = fs.existsSync(full) ? JSON.parse(fs.readFileSync(full, "utf8")) : {};
	for (const [output, info] of Object.entries(outputs)) {
		if (info.entryPoint) {
			noted[prefix + path.basename(info.entryPoint)] = "/" + path.relative(sites, path.resolve(output));
		}
	}
	fs.writeFileSync(full, JSON.stringify(noted, null, 4));
}

function runBuildCommands() {
	for (const app of apps) {
		const root = path.join(bench, "apps", app);
		const manifest = path.join(root, "package.json");
		if (app === "frappe" || !fs.existsSync(manifest)) continue;
		if (JSON.parse(fs.readFileSync(manifest, "utf8")).scripts?.build) {
			console.log(`\nRunning build command for ${app}`);
			execFileSync("yarn", ["build"], { cwd: root, stdio: "inherit" });
		}
	}
}

async function main() {
	console.time("DONE  Total Build Time");
	const [scripts, styles, rtl] = await Promise.all([
		bundle(entries(".js", "js")),
		bundle(entries(".css", "css")),
		bundle(entries(".css", "css-rtl"), [mirrored]),
	]);
	note(scripts, "assets.json", "");
	note(styles, "assets.json", "");
	note(rtl, "assets-rtl.json", "rtl_");
	for (const output of Object.keys({ ...scripts, ...styles, ...rtl })) {
		if (!output.endsWith(".map")) console.log(path.relative(assets, path.resolve(output)));
	}
	console.timeEnd("DONE  Total Build Time");
	if (flags.includes("--run-build-command")) runBuildCommands();
}

main().catch((error) => {
	console.error("ERROR  There were some problems during build");
	console.error(error);
	process.exit(1);
});
