package attest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/desiredeffect/erpnext-pipeline/ci/attest"
	"github.com/desiredeffect/erpnext-pipeline/internal/release"
)

const (
	imageDigest = "sha256:8d9c0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7"
	commit      = "4f1c2d3e4f5061728394a5b6c7d8e9f001122334"
	sum         = "0d2ed7fb2e0f4b4d1e8f0c6f8f3b7f0d9d1a4c6e5b2f3a1c7d8e9f0a1b2c3d4e"
	otherSum    = "ffd2ed7fb2e0f4b4d1e8f0c6f8f3b7f0d9d1a4c6e5b2f3a1c7d8e9f0a1b2c3d4"
	debian12    = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n"
)

// whole is contents with something of every kind.
func whole(t *testing.T) attest.Contents {
	t.Helper()
	return attest.Contents{
		Name: "registry.example.com/acme/erpnext-custom", Version: "1.1.5", Digest: imageDigest,
		Created: time.Date(2024, 3, 20, 13, 0, 0, 0, time.FixedZone("", 3600)),
		Apps: []release.App{
			{Name: "frappe", URL: "https://github.com/frappe/frappe", Ref: "v15.17.0", Commit: commit, Version: "15.17.0"},
			{Name: "de_macrs", URL: "https://robot:hunter2@ghe.example.com/desiredeffect/De_Macrs.git", Ref: "main", Commit: commit},
		},
		PythonVersion: "3.11.6", NodeVersion: "18.18.2",
		Wkhtmltopdf: &release.Download{URL: "https://github.com/wkhtmltopdf/packaging/releases/download/0.12.6.1-3/wkhtmltox_0.12.6.1-3.bookworm_{arch}.deb",
			SHA256: map[string]string{"amd64": sum, "arm64": otherSum}},
		Chromium: &release.Download{URL: "https://robot:hunter2@files.example.com/chromium.zip", SHA256: map[string]string{"": otherSum}},
		Locked: []release.Package{
			{Name: "Zope.Interface_Extra", Version: "6.2", Hashes: []string{"sha256:" + otherSum, "sha256:" + sum, "md5:" + sum[:32]}},
			{Name: "PyYAML", Version: "6.0.2", Hashes: []string{"sha256:" + sum}},
			{Name: "pruned", Version: "1.0", Hashes: []string{"sha256:" + sum}},
		},
		Held: readFiles(t, files{"usr/lib/os-release": debian12, "var/lib/dpkg/status": status}, files{
			site + "zope.interface_extra-6.2.dist-info/METADATA": metadata("zope.interface_extra", "6.2"),
			site + "PyYAML-6.0.1.dist-info/METADATA":             metadata("PyYAML", "6.0.1"),
		}, files{
			app + "@babel/code-frame/package.json":              npm("@babel/code-frame", "7.12.13"),
			app + "JSONStream/package.json":                     npm("JSONStream", "1.3.5"),
			app + "string-width/package.json":                   npm("string-width", "4.2.3"),
			app + "wrap/node_modules/string-width/package.json": npm("string-width", "4.2.3"),
		}),
	}
}

// status is a database of dpkg's.
const status = `Package: libc6
Status: install ok installed
Source: glibc
Version: 2.36-9+deb12u4
Architecture: amd64
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
 .
 Package: not-one

Package: gone
Status: deinstall ok config-files
Version: 1.0
Architecture: amd64

Package: held
Status: hold ok installed
Source: gcc-12 (12.2.0-14)
Version: 1:1.0~rc1
Architecture: all
`

func document(t *testing.T, c attest.Contents) []byte {
	t.Helper()
	text, err := attest.SBOM(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSBOM(t *testing.T) {
	text := document(t, whole(t))
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 {
		t.Errorf("it is of version %s", bom.SpecVersion)
	}
	if got, want := bom.Metadata.Timestamp, "2024-03-20T12:00:00Z"; got != want {
		t.Errorf("it is of %s, want %s", got, want)
	}
	image := bom.Metadata.Component
	if got, want := image.PackageURL, "pkg:oci/erpnext-custom@sha256:"+imageDigest[7:]+"?arch=amd64&repository_url=registry.example.com%2Facme%2Ferpnext-custom&tag=1.1.5"; got != want {
		t.Errorf("the image is\n%s, want\n%s", got, want)
	}
	found := map[string]cdx.Component{}
	var refs []string
	for _, component := range *bom.Components {
		found[component.BOMRef] = component
		refs = append(refs, component.BOMRef)
		if component.PackageURL != component.BOMRef && component.Type != cdx.ComponentTypeOS {
			t.Errorf("%s has the package URL %s", component.BOMRef, component.PackageURL)
		}
	}
	want := []string{
		"os:debian@12",
		"pkg:deb/debian/held@1:1.0~rc1?arch=all&distro=debian-12&upstream=gcc-12%4012.2.0-14",
		"pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc",
		"pkg:generic/De_Macrs@" + commit + "?vcs_url=git%2Bhttps:%2F%2Fghe.example.com%2Fdesiredeffect%2FDe_Macrs.git%40" + commit,
		"pkg:generic/chromium-headless-shell?download_url=https:%2F%2Ffiles.example.com%2Fchromium.zip",
		"pkg:generic/node@18.18.2",
		"pkg:generic/python@3.11.6",
		"pkg:generic/wkhtmltopdf@0.12.6.1?download_url=https:%2F%2Fgithub.com%2Fwkhtmltopdf%2Fpackaging%2Freleases%2Fdownload%2F0.12.6.1-3%2Fwkhtmltox_0.12.6.1-3.bookworm_amd64.deb",
		"pkg:github/frappe/frappe@" + commit,
		"pkg:npm/%40babel/code-frame@7.12.13",
		"pkg:npm/JSONStream@1.3.5",
		"pkg:npm/string-width@4.2.3",
		"pkg:pypi/pyyaml@6.0.1",
		"pkg:pypi/zope-interface-extra@6.2",
	}
	if !slices.Equal(refs, want) {
		t.Errorf("it holds\n%s\nwant\n%s", strings.Join(refs, "\n"), strings.Join(want, "\n"))
	}
	if held := (*bom.Dependencies)[0]; held.Ref != image.BOMRef || !slices.Equal(*held.Dependencies, want) {
		t.Errorf("the image depends on %v", held)
	}
	for ref, want := range map[string]string{
		want[4]:  `{"type":"application","name":"chromium-headless-shell","hashes":[{"alg":"SHA-256","content":"` + otherSum + `"}]}`,
		want[5]:  `{"type":"application","name":"node","version":"18.18.2","cpe":"cpe:2.3:a:nodejs:node.js:18.18.2:*:*:*:*:*:*:*"}`,
		want[7]:  `{"type":"application","name":"wkhtmltopdf","version":"0.12.6.1","hashes":[{"alg":"SHA-256","content":"` + sum + `"}],"cpe":"cpe:2.3:a:wkhtmltopdf:wkhtmltopdf:0.12.6.1:*:*:*:*:*:*:*"}`,
		want[3]:  `{"type":"application","name":"de_macrs","version":"main","externalReferences":[{"url":"https://ghe.example.com/desiredeffect/De_Macrs.git","type":"vcs"}]}`,
		want[8]:  `{"type":"application","name":"frappe","version":"15.17.0","externalReferences":[{"url":"https://github.com/frappe/frappe","type":"vcs"}]}`,
		want[9]:  `{"type":"library","group":"@babel","name":"code-frame","version":"7.12.13","evidence":{"occurrences":[{"location":"/` + app + `@babel/code-frame/package.json"}]}}`,
		want[11]: `{"type":"library","name":"string-width","version":"4.2.3","evidence":{"occurrences":[{"location":"/` + app + `string-width/package.json"},{"location":"/` + app + `wrap/node_modules/string-width/package.json"}]}}`,
		// The lock has another version, and so other files.
		want[12]: `{"type":"library","name":"pyyaml","version":"6.0.1","evidence":{"occurrences":[{"location":"/` + site + `PyYAML-6.0.1.dist-info/METADATA"}]}}`,
		want[13]: `{"type":"library","name":"zope-interface-extra","version":"6.2","hashes":[{"alg":"SHA-256","content":"` + sum + `"},{"alg":"SHA-256","content":"` + otherSum + `"}],"evidence":{"occurrences":[{"location":"/` + site + `zope.interface_extra-6.2.dist-info/METADATA"}]}}`,
	} {
		component := found[ref]
		component.BOMRef, component.PackageURL = "", ""
		got, err := json.Marshal(component)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is\n%s, want\n%s", ref, got, want)
		}
	}
	if bytes.Contains(text, []byte("hunter2")) {
		t.Error("a password is in the document")
	}
}

func TestSBOMIsTheSameForTheSameImage(t *testing.T) {
	c := whole(t)
	first := document(t, c)
	for range 5 {
		c.Held = whole(t).Held
		slices.Reverse(c.Apps)
		slices.Reverse(c.Locked)
		c.Locked = append(c.Locked, c.Locked[0])
		c.Locked[0].Hashes = slices.Clone(c.Locked[0].Hashes)
		slices.Reverse(c.Locked[0].Hashes)
		if again := document(t, c); !bytes.Equal(first, again) {
			t.Fatalf("another order makes another document:\n%s\n%s", first, again)
		}
	}
	c.Digest = strings.Replace(imageDigest, "8", "9", 1)
	if number := []byte(`"urn:uuid:`); bytes.Equal(serial(first, number), serial(document(t, c), number)) {
		t.Error("another image has the same serial number")
	}
}

func serial(text, before []byte) []byte {
	_, after, _ := bytes.Cut(text, before)
	return after[:36]
}

func TestSBOMFollowsTheSchema(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Skipf("the schemas come with the source of cyclonedx-go: %v", err)
	}
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{
		"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json",
		// It comes under a name that its users don't ask for.
		"jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "schema", file))
		if err != nil {
			t.Skipf("the schemas come with the source of cyclonedx-go: %v", err)
		}
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name, schema); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]attest.Contents{
		"everything": whole(t), "nothing": {Name: "acme/site", Digest: imageDigest},
	} {
		t.Run(name, func(t *testing.T) {
			instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(document(t, c)))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(instance); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSBOMRefuses(t *testing.T) {
	of := func(status string) files { return files{"etc/os-release": debian12, "var/lib/dpkg/status": status} }
	for name, test := range map[string]struct {
		change func(*attest.Contents)
		want   string
	}{
		"no digest":             {func(c *attest.Contents) { c.Digest = "" }, "read digest of image"},
		"a digest cut short":    {func(c *attest.Contents) { c.Digest = imageDigest[:20] }, "read digest of image"},
		"no name":               {func(c *attest.Contents) { c.Name = "" }, "read name of image"},
		"packages of no system": {func(c *attest.Contents) { c.Held = readFiles(t, files{"var/lib/dpkg/status": status}) }, "read os-release: there is no ID in it"},
		"a broken dpkg status":  {func(c *attest.Contents) { c.Held = readFiles(t, of("nothing of dpkg's\n")) }, "read dpkg status"},
		"a nameless package":    {func(c *attest.Contents) { c.Held = readFiles(t, of("Status: install ok installed\n")) }, "read dpkg status: name package"},
	} {
		t.Run(name, func(t *testing.T) {
			c := whole(t)
			test.change(&c)
			text, err := attest.SBOM(c)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if text != nil {
				t.Error("there is a document all the same")
			}
		})
	}
}
