package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

func TestDownloads(t *testing.T) {
	a, b := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	for _, c := range []struct {
		name, url, sums, platforms string
		sha256                     map[string]string
		problem                    string
	}{
		{"one file", "https://example.com/x.zip?y=1", strings.ToUpper(a), "linux/arm64", map[string]string{"": a}, ""},
		{"by architecture", "https://{arch}.example.com/x-{arch}.zip", "arm64=" + a + ", amd64=" + b, "linux/amd64,linux/arm64", map[string]string{"arm64": a, "amd64": b}, ""},
		{"the one architecture that is built", "https://example.com/{arch}.zip", "arm64=" + a, "linux/arm64", map[string]string{"arm64": a}, ""},
		{"http", "http://example.com/x.zip", a, "", map[string]string{"": a},
			"CHROMIUM is not an https URL | write it with https:// in front"},
		{"white space", "https://example.com/a b.zip", a, "", map[string]string{"": a},
			"CHROMIUM is not an https URL | write it with https:// in front"},
		{"credentials", "https://bot:pw@example.com/x.zip", a, "", map[string]string{"": a},
			"CHROMIUM has credentials in it | give a URL that works without; it is no secret"},
		{"another placeholder", "https://example.com/${arch}/{version}.zip", "amd64=" + a, "", map[string]string{"amd64": a},
			"CHROMIUM has a { or } in it that is no {arch} | write {arch} for the architecture, and the rest in full"},
		{"another file", "https://example.com/x.tar.xz", a, "", map[string]string{"": a},
			"CHROMIUM is not the URL of a .zip | give the URL of the file itself"},
		{"one file for two platforms", "https://example.com/x.zip", a, "linux/amd64,linux/arm64", map[string]string{"": a},
			"CHROMIUM is one file, but PLATFORMS has linux/amd64 and linux/arm64 | put {arch} in place of the architecture"},
		{"no checksum", "https://example.com/x.zip", "sha256:" + a, "", nil,
			"CHROMIUM_SHA256 is not a SHA-256 checksum | write the 64 hex digits that sha256sum prints, or amd64=HEX,arm64=HEX"},
		{"no checksum of one architecture", "https://example.com/{arch}.zip", "amd64=" + a + ",arm64=", "", nil,
			"CHROMIUM_SHA256 is not a SHA-256 checksum | write the 64 hex digits that sha256sum prints, or amd64=HEX,arm64=HEX"},
		{"another architecture", "https://example.com/{arch}.zip", "x86_64=" + a, "", nil,
			"CHROMIUM_SHA256 is not a SHA-256 checksum | write the 64 hex digits that sha256sum prints, or amd64=HEX,arm64=HEX"},
		{"an architecture twice", "https://example.com/{arch}.zip", "amd64=" + a + ",amd64=" + b, "", nil,
			"CHROMIUM_SHA256 has amd64 twice | keep one of the two"},
		{"one checksum for all", "https://example.com/{arch}.zip", a, "", map[string]string{"": a},
			"CHROMIUM_SHA256 is one checksum, but CHROMIUM has {arch} in it | write amd64=HEX,arm64=HEX"},
		{"checksums for one file", "https://example.com/x.zip", "amd64=" + a, "", map[string]string{"amd64": a},
			"CHROMIUM_SHA256 is by architecture, but CHROMIUM has no {arch} in it | write the 64 hex digits alone, or {arch} in the URL"},
		{"a platform without", "https://example.com/{arch}.zip", "amd64=" + a, "linux/amd64,linux/arm64", map[string]string{"amd64": a},
			"CHROMIUM_SHA256 has none for arm64, which PLATFORMS has | add arm64=HEX, or leave linux/arm64 out of PLATFORMS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for key, ending := range map[string]string{"CHROMIUM": ".zip", "WKHTMLTOPDF_URL": ".deb"} {
				sumKey := strings.TrimSuffix(key, "_URL") + "_SHA256"
				// In the environment nothing is replaced.
				adapt := strings.NewReplacer(".zip", ending, "CHROMIUM_SHA256", sumKey, "CHROMIUM", key).Replace
				w := newWorld(t)
				w.environ = append(w.environ, key+"="+adapt(c.url), sumKey+"="+c.sums, "PLATFORMS="+c.platforms)
				config, report := w.load(0)
				want := ""
				if detail, remedy, ok := strings.Cut(adapt(c.problem), " | "); ok {
					want = "✗ environment: " + detail + "\n  fix: " + remedy + "\n"
				}
				if got := rendered(t, report); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				got, other := config.Lock.Chromium, config.Lock.Wkhtmltopdf
				if key != "CHROMIUM" {
					got, other = other, got
				}
				file := release.Download{URL: adapt(c.url), SHA256: c.sha256}
				if got == nil || !reflect.DeepEqual(*got, file) || other != nil || config.Lock.DebianChromium {
					t.Errorf("%s is %+v, want %+v; the other is %+v, Debian's %v", key, got, file, other, config.Lock.DebianChromium)
				}
			}
		})
	}
}

// TestPatchedWkhtmltopdf: one word is enough.
func TestPatchedWkhtmltopdf(t *testing.T) {
	for sum, want := range map[string]string{
		"":                       "",
		strings.Repeat("0a", 32): "✗ environment: WKHTMLTOPDF_SHA256 is set, but WKHTMLTOPDF_URL is patched, which has its own\n  fix: remove it\n",
	} {
		w := newWorld(t)
		w.environ = append(w.environ, "WKHTMLTOPDF_URL=patched", "WKHTMLTOPDF_SHA256="+sum, "PLATFORMS=linux/amd64,linux/arm64")
		config, report := w.load(0)
		if got := rendered(t, report); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		// It passes for one that was written out.
		file := config.Lock.Wkhtmltopdf
		w.environ = append(w.environ, "WKHTMLTOPDF_URL="+file.URL, "WKHTMLTOPDF_SHA256=amd64="+file.SHA256["amd64"]+",arm64="+file.SHA256["arm64"])
		if config, report := w.load(0); len(report) > 0 || !reflect.DeepEqual(config.Lock.Wkhtmltopdf, file) {
			t.Errorf("%+v is not %+v: %v", config.Lock.Wkhtmltopdf, file, report)
		}
	}
}

func TestDebianChromium(t *testing.T) {
	sum := strings.Repeat("0a", 32)
	for _, c := range []struct {
		name, chromium, sum string
		debian              bool
		want                string
	}{
		{"none", "", "", false, ""},
		{"Debian's", "debian", "", true, ""},
		{"Debian's with a checksum", "debian", sum, true,
			"✗ environment: CHROMIUM_SHA256 is set, but CHROMIUM is not a URL\n  fix: set CHROMIUM to the URL of that file, or remove the checksum\n"},
		{"both bad", "chrome", "x", false,
			"✗ environment: CHROMIUM is \"chrome\", which is neither debian nor a URL\n  fix: write debian, or the https:// URL of a .zip; leave it empty for none\n" +
				"✗ environment: CHROMIUM_SHA256 is not a SHA-256 checksum\n  fix: write the 64 hex digits that sha256sum prints, or amd64=HEX,arm64=HEX\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.environ = append(w.environ, "CHROMIUM="+c.chromium, "CHROMIUM_SHA256="+c.sum)
			config, report := w.load(0)
			if got := rendered(t, report); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if config.Lock.Chromium != nil || config.Lock.DebianChromium != c.debian {
				t.Errorf("got %+v, Debian's: %v; want no file, Debian's: %v", config.Lock.Chromium, config.Lock.DebianChromium, c.debian)
			}
		})
	}
}
