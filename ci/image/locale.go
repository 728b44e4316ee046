package image

import (
	"context"
	"path"

	"dagger.io/dagger"
)

// babelVersion is the library with which Frappe compiles translations.
const babelVersion = "2.17.0"

// compiler is the file of frappe that does, from 15 on: an older one reads no
// compiled translations.
const compiler = "frappe/gettext/translate.py"

// readsLocale reports whether a file is one of an app's translations: those that
// frappe finds, in the folder locale of the package.
func readsLocale(name string) func(string) bool {
	return func(p string) bool { return path.Dir(p) == name+"/locale" && path.Ext(p) == ".po" }
}

// locales is the stage with an app's translations as Frappe loads them: what bench
// build makes of them. Without it users see English.
func (b *Builder) locales(a *app, tools *stage) *stage {
	const text = `
uv pip install --quiet --target /tmp/babel --no-deps Babel==` + babelVersion + `
cat >/tmp/compile.py <<'END'
import os
import sys

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

app, *files = sys.argv[1:]
for file in files:
    name = os.path.basename(file)[: -len(".po")]
    folder = f"/tmp/out/locale/{name}/LC_MESSAGES"
    os.makedirs(folder, exist_ok=True)
    with open(file, "rb") as source, open(f"{folder}/{app}.mo", "wb") as target:
        write_mo(target, read_po(source))
END
find /tmp/locale -maxdepth 1 -name '*.po' -print0 | PYTHONPATH=/tmp/babel xargs -0 -n 4 -P "$(nproc)" python3 /tmp/compile.py "$APP"
`
	fetched := b.fetched(a)
	return &stage{
		name: "locale", of: a.Name, needs: []*stage{tools, fetched}, inImage: true, history: "translations of " + a.Name,
		key: keyOf("locale", a.Name, tools.key, text, packScript, entries(a.files, readsLocale(a.Name))),
		build: func(s *stage, in inputs) *dagger.Container {
			c := b.cached(toolbox(in[tools]), "uv").
				WithMountedDirectory("/tmp/locale", in[fetched].Directory(sourceDir).Directory(a.Name+"/locale")).
				WithEnvVariable("APP", a.Name)
			return b.script(c, s, text)
		},
		pack: func(_ context.Context, c *dagger.Container) packing {
			return packing{from: c.Directory("/tmp/out"), at: benchDir + "/assets", owner: owner, seconds: epoch}
		},
	}
}

// translated reports whether the app has translations that frappe compiles.
func (a *app) translated(frappe *app) bool {
	return frappe.has(compiler) && len(entries(a.files, readsLocale(a.Name))) > 0
}
