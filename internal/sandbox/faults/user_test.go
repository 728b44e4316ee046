package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

// Every request has a connection of its own, so that none depends on an earlier
// one.
var requests = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}

// site is the host's site, through its proxy.
func (th *testHost) site() writer.Site {
	return writer.Site{Address: th.host.SiteAddress(), Name: sandbox.Site, Client: requests}
}

// ask reads what the site says to a question into a value. Everything but 200 is
// an error.
func (th *testHost) ask(ctx context.Context, path string, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+th.host.SiteAddress()+path, nil)
	if err != nil {
		return err
	}
	request.Host = sandbox.Site
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
		return fmt.Errorf("%s: %s: %.200s", path, response.Status, text)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
