//go:build unix

package writer_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

func TestDumps(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, pack bool) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		data := []byte(text)
		if pack {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			_, _ = w.Write(data)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			data = packed.Bytes()
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As mariadb-dump has them: many on a line.
	rows := "INSERT INTO `tabNote` VALUES\n('a1','2026-11-25 20:18:50.123456','row 000001 of a-run','a numbered row'),('a2','x','row 000002 of a-run','a numbered row');\n"
	put("backups/7/erp-database.sql.gz", rows, true)
	put("backups/7/after-erp-database.sql.gz", rows, true)
	put("backups/7/after-two-database.sql.gz", "-- nothing\n", true)
	put("runs/7/log", "two: 10 bytes in "+dir+"/backups/7/after-two-database.sql.gz\nerp: 10 bytes in "+dir+"/backups/7/erp-database.sql.gz\n", false)
	find := func(arguments ...string) []writer.Place {
		t.Helper()
		out, err := exec.Command("sh", append([]string{"-c", writer.DumpsScript, "dumps", dir}, arguments...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		places, err := writer.ParseDumps(string(out))
		if err != nil {
			t.Fatal(err)
		}
		return places
	}
	is := func(place writer.Place, name string, unnamed bool, rows ...string) {
		t.Helper()
		if place.Name != dir+"/backups/7/"+name || place.Unnamed != unnamed || !slices.Equal(place.Rows, rows) {
			t.Errorf("got %+v", place)
		}
	}
	if places := find("6"); places != nil {
		t.Errorf("a run without a backup has %v", places)
	}
	places := find("7")
	if len(places) != 2 {
		t.Fatalf("got %v", places)
	}
	is(places[0], "after-erp-database.sql.gz", true, "row 000001 of a-run", "row 000002 of a-run")
	is(places[1], "after-two-database.sql.gz", false)
	if places = find("7", "backup"); len(places) != 3 {
		t.Fatalf("got %v", places)
	}
	is(places[2], "erp-database.sql.gz", false, "row 000001 of a-run", "row 000002 of a-run")
}
