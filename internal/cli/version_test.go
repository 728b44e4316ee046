package cli

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{
			{Key: "-buildmode", Value: "exe"}, {Key: "vcs", Value: "git"},
			{Key: "vcs.revision", Value: "c40c5381d8f8aa163174cc514c505648d97eb0a1"}, {Key: "vcs.time", Value: "2026-11-25T16:37:43Z"},
			{Key: "vcs.modified", Value: modified},
		}
	}
	for name, test := range map[string]struct {
		info debug.BuildInfo
		// text and json are what is printed, builder what a manifest says.
		text, json, builder string
	}{
		"installed from a proxy": {
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}},
			"version  v1.2.3\ncommit   not known\ngo       go1.26.8\n",
			`{"version":"v1.2.3","modified":false,"go":"go1.26.8"}`,
			"erpnext-pipeline v1.2.3",
		},
		"built at a commit": {
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: vcs("false")},
			"version    v1.2.3\ncommit     c40c5381d8f8aa163174cc514c505648d97eb0a1\ncommitted  2026-11-25T16:37:43Z\ngo         go1.26.8\n",
			`{"version":"v1.2.3","commit":"c40c5381d8f8aa163174cc514c505648d97eb0a1","committed_at":"2026-11-25T16:37:43Z","modified":false,"go":"go1.26.8"}`,
			"erpnext-pipeline v1.2.3",
		},
		"built with changes": {
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "(devel)"}, Settings: vcs("true")},
			"version    (devel)\ncommit     c40c5381d8f8aa163174cc514c505648d97eb0a1, with changes that are not committed\ncommitted  2026-11-25T16:37:43Z\ngo         go1.26.8\n",
			`{"version":"(devel)","commit":"c40c5381d8f8aa163174cc514c505648d97eb0a1","committed_at":"2026-11-25T16:37:43Z","modified":true,"go":"go1.26.8"}`,
			"erpnext-pipeline (devel)",
		},
		"built at a commit without a tag": {
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.0.0-20261125163743-c40c5381d8f8"}, Settings: vcs("false")},
			"version    v0.0.0-20261125163743-c40c5381d8f8\ncommit     c40c5381d8f8aa163174cc514c505648d97eb0a1\ncommitted  2026-11-25T16:37:43Z\ngo         go1.26.8\n",
			`{"version":"v0.0.0-20261125163743-c40c5381d8f8","commit":"c40c5381d8f8aa163174cc514c505648d97eb0a1","committed_at":"2026-11-25T16:37:43Z","modified":false,"go":"go1.26.8"}`,
			"erpnext-pipeline (devel)",
		},
		"built at a tag, with changes": {
			debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3+dirty"}, Settings: vcs("true")},
			"version    v1.2.3+dirty\ncommit     c40c5381d8f8aa163174cc514c505648d97eb0a1, with changes that are not committed\ncommitted  2026-11-25T16:37:43Z\ngo         go1.26.8\n",
			`{"version":"v1.2.3+dirty","commit":"c40c5381d8f8aa163174cc514c505648d97eb0a1","committed_at":"2026-11-25T16:37:43Z","modified":true,"go":"go1.26.8"}`,
			"erpnext-pipeline (devel)",
		},
		"nothing is known": {
			debug.BuildInfo{GoVersion: "go1.26.8"},
			"version  (devel)\ncommit   not known\ngo       go1.26.8\n",
			`{"version":"","modified":false,"go":"go1.26.8"}`,
			"erpnext-pipeline",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := versionOf(&test.info)
			if got := renderVersion(v); got != test.text {
				t.Errorf("printed\n%s\nwant\n%s", got, test.text)
			}
			if got, err := json.Marshal(v); err != nil || string(got) != test.json {
				t.Errorf("as JSON %s, %v\nwant %s", got, err, test.json)
			}
			if got := builderName(v); got != test.builder {
				t.Errorf("the manifest says %s, want %s", got, test.builder)
			}
		})
	}
}

// The version needs no configuration, nor a folder with one.
func TestVersionNeedsNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	code, out, errs := quietly(t, nil, "version")
	if code != ExitDone || errs != "" || !strings.Contains(out, runtime.Version()) {
		t.Errorf("exit %d, printed\n%s%s", code, out, errs)
	}
	code, out, errs = quietly(t, nil, "version", "--json")
	var v version
	if err := json.Unmarshal([]byte(out), &v); code != ExitDone || errs != "" || err != nil || v.Go != runtime.Version() {
		t.Errorf("exit %d, %v, printed\n%s%s", code, err, out, errs)
	}
}
