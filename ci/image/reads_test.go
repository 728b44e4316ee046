package image

import "testing"

func TestRunsScripts(t *testing.T) {
	for description, want := range map[string]bool{
		`{"scripts": {"build": "node build.js"}}`:                                                         false,
		`{"scripts": {"postinstall": "cd frontend && yarn install --check-files && cd ../roster&&yarn"}}`: false,
		`{"scripts": {"postinstall": "patch-package", "prepare": "husky install || true"}}`:               false,
		`{"scripts": {"postinstall": "node scripts/mend.js"}}`:                                            true,
		`{"scripts": {"prepare": "cd ui; yarn run build"}}`:                                               true,
		`{"scripts": []}`: false,
		``:                false,
	} {
		if got := runsScripts(description); got != want {
			t.Errorf("%s: %v", description, got)
		}
	}
}
