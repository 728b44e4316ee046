package e2e

// pnpms take modules from elsewhere than their packages say, each from another app, and
// each by a version that does not read where the other has said so.
var pnpms = []shape{
	front("by_override", "pnpm/9.15.4 of the library vendored pnpm/10.34.8 of the other app of the library", "../..",
		`by, require("shared"), require("vendored"), require("../../desk/said")`, map[string]string{
			"package.json": `{"name": "by_override", "private": true, "packageManager": "pnpm@9.15.4",
"scripts": {"postinstall": "cd desk && pnpm install", "build": "pnpm -C desk build && pnpm --filter web build"},
"pnpm": {"overrides": {"shared": "link:../by_pnpm/libs/lib", "web>vendored@1": "file:vendor/said"}}}`,
			"pnpm-workspace.yaml":      "packages:\n  - apps/*\n",
			"apps/web/package.json":    `{"name": "web", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"shared": "1.0.0", "vendored": "^1.0.0"}}`,
			"apps/web/build.js":        builds,
			"vendor/said/package.json": `{"name": "vendored", "version": "1.0.0"}`,
			"vendor/said/index.js":     "module.exports = \"vendored\";\n",
			"pnpm-lock.yaml": `lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

overrides:
  shared: link:../by_pnpm/libs/lib
  web>vendored@1: file:vendor/said

importers:

  .: {}

  apps/web:
    dependencies:
      shared:
        specifier: link:../../../by_pnpm/libs/lib
        version: link:../../../by_pnpm/libs/lib
      vendored:
        specifier: file:../../vendor/said
        version: file:vendor/said

packages:

  vendored@file:vendor/said:
    resolution: {directory: vendor/said, type: directory}

snapshots:

  vendored@file:vendor/said: {}
`,
			"desk/package.json":        `{"name": "desk", "private": true, "scripts": {"build": "node build.js"}, "dependencies": {"copied": "1.0.0", "near": "^1.0.0"}}`,
			"desk/pnpm-workspace.yaml": "overrides:\n  copied: file:../../by_pnpm/libs/lib\n  near: workspace:../../by_pnpm/libs/lib\n",
			"desk/build.js": `const said = [process.env.npm_config_user_agent.split(" ")[0], require("copied/src/shared"), require("near")].join(" ");
require("fs").writeFileSync("said.js", "module.exports = " + JSON.stringify(said));
`,
			"desk/pnpm-lock.yaml": `lockfileVersion: '9.0'

settings:
  autoInstallPeers: true
  excludeLinksFromLockfile: false

overrides:
  copied: file:../../by_pnpm/libs/lib
  near: workspace:../../by_pnpm/libs/lib

importers:

  .:
    dependencies:
      copied:
        specifier: file:../../by_pnpm/libs/lib
        version: lib@file:../../by_pnpm/libs/lib
      near:
        specifier: workspace:../../by_pnpm/libs/lib
        version: link:../../by_pnpm/libs/lib

packages:

  lib@file:../../by_pnpm/libs/lib:
    resolution: {directory: ../../by_pnpm/libs/lib, type: directory}

snapshots:

  lib@file:../../by_pnpm/libs/lib: {}
`,
		}),
}
