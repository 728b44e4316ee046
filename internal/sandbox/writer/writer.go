// Package writer has a user who writes numbered rows into a site all the time
// and remembers which of them the site acknowledged, and finds each of those
// afterwards: live, or in a dump of which the run has printed the name.
package writer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Site is where to write.
type Site struct {
	// Address is where the site answers, "127.0.0.1:8080", and Name the site.
	Address, Name string
	// Client has a time limit for each request.
	Client *http.Client
}

const (
	// pace is how often a row is written. What the site takes to answer, the
	// release has not.
	pace = 250 * time.Millisecond
	// content is what every row says, by which they are found.
	content = "a numbered row"
)

// Writer writes rows until it is stopped.
type Writer struct {
	site  Site
	label string
	stop  context.CancelFunc
	// writing are the requests under way.
	writing sync.WaitGroup

	mu           sync.Mutex
	acknowledged []string
	refused      int
}

// Start begins to write. The label tells the rows of one writer from those of
// others; it has no quotes and no blanks.
func Start(ctx context.Context, site Site, label string) *Writer {
	ctx, stop := context.WithCancel(ctx)
	w := &Writer{site: site, label: label, stop: stop}
	w.writing.Go(func() {
		next := time.NewTicker(pace)
		defer next.Stop()
		for number := 1; ; number++ {
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
			// One that waits for its answer does not hold up the next.
			w.writing.Go(func() { w.write(ctx, number) })
		}
	})
	return w
}

// Stop ends the writing. What is under way then may be there or not.
func (w *Writer) Stop() {
	w.stop()
	w.writing.Wait()
}

// Rows returns the rows that were acknowledged, and how many were not.
func (w *Writer) Rows() (acknowledged []string, refused int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acknowledged), w.refused
}

func (w *Writer) write(ctx context.Context, number int) {
	row := fmt.Sprintf("row %06d of %s", number, w.label)
	err := w.site.insert(ctx, row)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.refused++
		return
	}
	w.acknowledged = append(w.acknowledged, row)
}

// insert writes a row, and returns no error where the site has said that it did.
func (s Site) insert(ctx context.Context, row string) error {
	form := url.Values{"title": {row}, "content": {content}}
	var answer struct{ Data struct{ Title string } }
	if err := s.ask(ctx, http.MethodPost, "/api/resource/Note", strings.NewReader(form.Encode()), &answer); err != nil {
		return err
	}
	if answer.Data.Title != row {
		return fmt.Errorf("insert %s: the answer is about %q", row, answer.Data.Title)
	}
	return nil
}

// live returns the rows that the site has.
func (s Site) live(ctx context.Context) ([]string, error) {
	query := url.Values{"fields": {`["title"]`}, "filters": {`{"content": "` + content + `"}`}, "limit_page_length": {"1000000"}}
	var answer struct{ Data []struct{ Title string } }
	if err := s.ask(ctx, http.MethodGet, "/api/resource/Note?"+query.Encode(), nil, &answer); err != nil {
		return nil, fmt.Errorf("list rows: %w", err)
	}
	var rows []string
	for _, row := range answer.Data {
		rows = append(rows, row.Title)
	}
	return rows, nil
}

// ask reads an answer of 2xx, whole, into a value.
func (s Site) ask(ctx context.Context, method, path string, body io.Reader, answer any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+s.Address+path, body)
	if err != nil {
		return err
	}
	request.Host = s.Name
	if body != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := s.Client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%s: %.200s", response.Status, text)
	}
	return json.Unmarshal(text, answer)
}
