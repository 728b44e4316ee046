package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
)

// siteUser uses the site through its proxy.
type siteUser struct{ address string }

// Every request has a connection of its own, so that none depends on an earlier
// one.
var requests = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// ask sends a request and reads the answer into a value. Everything but 200 is
// an error.
func (u siteUser) ask(ctx context.Context, method, path string, form url.Values, answer any) error {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+u.address+path, body)
	if err != nil {
		return err
	}
	request.Host = sandbox.Site
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := requests.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %.200s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// versions are the versions of the apps, as the site reports them.
func (u siteUser) versions(ctx context.Context) (map[string]string, error) {
	var answer struct{ Apps map[string]string }
	err := u.ask(ctx, http.MethodGet, "/api/method/version", nil, &answer)
	return answer.Apps, err
}

// write makes a note and returns its name.
func (u siteUser) write(ctx context.Context, title, content string) (string, error) {
	var answer struct{ Data struct{ Name string } }
	err := u.ask(ctx, http.MethodPost, "/api/resource/Note", url.Values{"title": {title}, "content": {content}}, &answer)
	if err == nil && answer.Data.Name == "" {
		err = fmt.Errorf("note %s has no name", title)
	}
	return answer.Data.Name, err
}

// notes are the names of the notes with that content.
func (u siteUser) notes(ctx context.Context, content string) (map[string]bool, error) {
	filters, err := json.Marshal(map[string]string{"content": content})
	if err != nil {
		return nil, err
	}
	var answer struct{ Data []struct{ Name string } }
	query := url.Values{"filters": {string(filters)}, "limit_page_length": {"1000000"}}
	if err := u.ask(ctx, http.MethodGet, "/api/resource/Note?"+query.Encode(), nil, &answer); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, row := range answer.Data {
		names[row.Name] = true
	}
	return names, nil
}

// writer is a user who writes one note after the other.
type writer struct {
	stop  context.CancelFunc
	ended sync.WaitGroup
	// saved are the names of the notes that the site confirmed.
	saved   []string
	refused int
}

// keepWriting writes notes with that content until the writer is stopped.
func (u siteUser) keepWriting(ctx context.Context, content string) *writer {
	ctx, stop := context.WithCancel(ctx)
	w := &writer{stop: stop}
	w.ended.Go(func() {
		// What the site takes to answer, the release has not.
		pace := time.NewTicker(250 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-pace.C:
			}
			if name, err := u.write(ctx, fmt.Sprintf("%s %d", content, n), content); err == nil {
				w.saved = append(w.saved, name)
			} else {
				w.refused++
			}
		}
	})
	return w
}

// end stops the writer; then it may be read.
func (w *writer) end() {
	w.stop()
	w.ended.Wait()
}
