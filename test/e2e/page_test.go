package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// pageWithoutSite: where no frontend answers, visitors get a page that says so,
// and an API client no answer that it could take for one of the site.
func (u *user) pageWithoutSite(*testing.T) {
	frontend := u.container("frontend")
	u.onHost("docker", "stop", frontend)
	defer u.eventually("ping after the start", u.ping)
	defer u.onHost("docker", "start", frontend)
	for path, want := range map[string]string{"/login": "This site will be back in a moment", "/api/resource/User/none": `"exc_type": "SessionStopped"`} {
		u.eventually("page at "+path, func() error {
			if code, body := u.get(path); code != http.StatusServiceUnavailable || !strings.Contains(body, want) {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
	}
}
