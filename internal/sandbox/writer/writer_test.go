package writer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

// TestWriter holds that a row counts as acknowledged where the site has said so,
// to the end of its sentence, and else not.
func TestWriter(t *testing.T) {
	var mu sync.Mutex
	var rows []string
	said := map[string]string{}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet {
			var data []map[string]string
			for _, row := range rows {
				data = append(data, map[string]string{"title": row})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
			return
		}
		row := r.FormValue("title")
		answer := fmt.Sprintf(`{"data": {"title": %q}}`, row)
		kinds := []string{"good", "closed", "cut off", "of another row"}
		kind := kinds[len(said)%len(kinds)]
		said[row] = kind
		switch kind {
		case "closed":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "cut off":
			w.Header().Set("Content-Length", fmt.Sprint(len(answer)+1))
		case "of another row":
			answer = `{"data": {"title": "row 000000 of others"}}`
		}
		if kind != "closed" {
			rows = append(rows, row)
		}
		fmt.Fprint(w, answer)
	}))
	defer site.Close()
	at := writer.Site{Address: strings.TrimPrefix(site.URL, "http://"), Name: "erp.example", Client: &http.Client{Timeout: 5 * time.Second}}
	w := writer.Start(t.Context(), at, "a-run")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if acknowledged, refused := w.Rows(); len(acknowledged) >= 2 && refused >= 3 || time.Now().After(deadline) {
			break
		}
	}
	w.Stop()
	acknowledged, refused := w.Rows()
	if len(acknowledged) < 2 || refused < 3 {
		t.Fatalf("%d rows are acknowledged, %d refused", len(acknowledged), refused)
	}
	live, err := at.Live(t.Context())
	// What is still being answered is answered by now.
	site.Close()
	for _, row := range acknowledged {
		if said[row] != "good" {
			t.Errorf("%s counts as acknowledged, and its answer was %s", row, said[row])
		}
	}
	if err != nil || !slices.Equal(live.Rows, rows) || live.Name != writer.Live {
		t.Errorf("the site has %v, it says %v, %v", rows, live, err)
	}
}

func TestFind(t *testing.T) {
	live := func(rows ...string) writer.Place { return writer.Place{Name: writer.Live, Rows: rows} }
	dump := writer.Place{Name: "/d/after-erp-database.sql.gz", Rows: []string{"row 2", "row 3"}}
	silent := writer.Place{Name: "/d/silent.sql.gz", Rows: []string{"row 4"}, Unnamed: true}
	acknowledged := []string{"row 1", "row 2", "row 3"}
	for _, tc := range []struct {
		name   string
		places []writer.Place
		found  map[string]int
		wrong  string
	}{
		{"all live, and more", []writer.Place{live("row 0", "row 1", "row 2", "row 3")}, map[string]int{writer.Live: 3}, ""},
		{"some in a dump", []writer.Place{live("row 1", "row 2"), dump}, map[string]int{writer.Live: 2, dump.Name: 1}, ""},
		{"one is lost", []writer.Place{live("row 2"), dump}, map[string]int{writer.Live: 1, dump.Name: 1}, "row 1: acknowledged, and nowhere"},
		{"one is twice", []writer.Place{live("row 1", "row 2", "row 3", "row 2")}, map[string]int{writer.Live: 3}, "row 2: 2 times in the site"},
		{"one that was refused is twice", []writer.Place{live("row 0", "row 1", "row 0", "row 2", "row 3")}, map[string]int{writer.Live: 3}, "row 0: 2 times in the site"},
		{"one is in a dump without a name", []writer.Place{live("row 1", "row 2"), {Name: silent.Name, Rows: []string{"row 3"}, Unnamed: true}}, map[string]int{writer.Live: 2}, "row 3: acknowledged, and only in /d/silent.sql.gz, which the run has not named"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found, err := writer.Find(acknowledged, tc.places...)
			if !maps.Equal(found, tc.found) {
				t.Errorf("found %v, want %v", found, tc.found)
			}
			if tc.wrong == "" && err != nil || tc.wrong != "" && (err == nil || !strings.HasSuffix(err.Error(), "\n"+tc.wrong)) {
				t.Errorf("got %v, want %q", err, tc.wrong)
			}
		})
	}
}
