package apps

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What is asked for stays, however long ago it was fetched.
func TestPruneCache(t *testing.T) {
	c := cache(filepath.Join(t.TempDir(), "commits"))
	if removed, err := PruneCache(string(c), time.Now()); removed != 0 || err != nil {
		t.Errorf("of a folder that is not there: %d, %v", removed, err)
	}
	before := time.Now().AddDate(0, 0, -90)
	for _, name := range []string{"acme/used", "acme/unused"} {
		if err := c.put(name, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(string(c), name), time.Time{}, before.AddDate(0, 0, -1)); err != nil {
			t.Fatal(err)
		}
	}
	if text, found := c.get("acme/used"); !found || string(text) != "answer" {
		t.Fatalf("got %q, %v", text, found)
	}
	if removed, err := PruneCache(string(c), before); removed != 1 || err != nil {
		t.Errorf("removed %d, %v", removed, err)
	}
	for name, want := range map[string]bool{"acme/used": true, "acme/unused": false} {
		if _, found := c.get(name); found != want {
			t.Errorf("%s is there: %v", name, found)
		}
	}
}
