package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox"
	"github.com/desiredeffect/erpnext-pipeline/internal/sandbox/writer"
)

// visitor asks the site for something all the time, from outside.
type visitor struct {
	t       *testing.T
	client  *http.Client
	address string
	scheme  string
	end     context.CancelFunc
	asking  sync.WaitGroup

	mu      sync.Mutex
	answers []answer
	// assets are those of the last login page.
	assets []string
}

// answer is what one request got.
type answer struct {
	kind        string
	asked, came time.Time
	// fault says what was wrong; empty for a good answer.
	fault string
}

// noAnswer is the fault of a request that took longer than answerTime.
const noAnswer = "no answer"

const (
	// visitEvery makes twenty requests a second.
	visitEvery = 50 * time.Millisecond
	// answerTime is how long a request may take.
	answerTime = 5 * time.Second
	// wellTime is how long all has to be well at the beginning and the end.
	wellTime = 3 * time.Second
	// kinds is how many kinds of requests there are.
	kinds = 4
)

// visit begins to look on, and returns once all that it asks for is answered
// well.
func (u *user) visit() *visitor {
	u.t.Helper()
	return u.visitEach(visitEvery)
}

// visitEach is visit with a time between two requests.
func (u *user) visitEach(every time.Duration) *visitor {
	u.t.Helper()
	ctx, end := context.WithCancel(u.t.Context())
	u.t.Cleanup(end)
	site := u.site()
	v := &visitor{t: u.t, end: end, address: site.Address, scheme: "http", client: site.Client}
	if u.https != nil {
		v.scheme, v.address = "https", strings.TrimSuffix(site.Address, u.env("HTTP_PORT"))+u.env("HTTPS_PORT")
		v.client.Transport.(*http.Transport).TLSClientConfig = u.https
	}
	// A site that was made a moment ago is slow to answer for the first time.
	for deadline := time.Now().Add(time.Minute); len(v.assets) == 0; time.Sleep(visitEvery) {
		if v.login(); time.Now().After(deadline) {
			u.t.Fatalf("the login page has no assets: %+v", v.answers)
		}
	}
	v.answers = nil
	v.asking.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			// One that waits for its answer does not hold up the next.
			v.asking.Go(func() {
				switch i % 3 {
				case 0:
					v.login()
				case 1:
					v.ask("asset", v.asset(i/3))
				case 2:
					v.ask("ping", "/api/method/ping")
				}
			})
		}
	})
	v.asking.Go(func() { v.stayConnected(ctx) })
	v.wait(u.t.Fatalf)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers = nil
	return v
}

// site is the site as those see it who use it from outside.
func (u *user) site() writer.Site {
	u.t.Helper()
	// Not through the tunnel of the sandbox: once it had connections that
	// were not accepted, it leaves others without an answer.
	return writer.Site{Address: u.siteAddress(), Name: sandbox.Site, Client: &http.Client{Timeout: answerTime, Transport: &http.Transport{
		DialContext: u.login().DialHost,
		// A new connection is what the proxy has to lead anywhere.
		DisableKeepAlives: true,
	}}}
}

// wait waits until for a while nothing failed and everything was answered, and
// complains if that takes too long.
func (v *visitor) wait(complain func(format string, args ...any)) {
	v.t.Helper()
	for begun := time.Now(); ; time.Sleep(visitEvery) {
		v.mu.Lock()
		o := outage{byKind: map[string]int{}}
		well := map[string]bool{}
		for _, a := range v.answers {
			switch {
			case a.asked.Before(begun) || a.asked.Before(time.Now().Add(-wellTime)):
			case a.fault == "":
				well[a.kind] = true
			default:
				o.byKind[a.kind+" ("+a.fault+")"]++
			}
		}
		v.mu.Unlock()
		passed := time.Since(begun)
		if passed > wellTime && len(well) == kinds && len(o.byKind) == 0 {
			return
		}
		if passed > time.Minute {
			complain("the site does not get well: of late, %d kinds of requests were answered well, and these failed: %s", len(well), o.kinds())
			return
		}
	}
}

var assetPath = regexp.MustCompile(`/assets/[^"'?]+\.[0-9A-Z]{8}\.(?:js|css)`)

// login asks for the login page and notes the assets in it.
func (v *visitor) login() {
	page, _ := v.ask("login page", "/login")
	if assets := assetPath.FindAllString(page, -1); len(assets) > 0 {
		v.mu.Lock()
		v.assets = assets
		v.mu.Unlock()
	}
}

// asset returns one of the assets that the last login page named, another one
// each time.
func (v *visitor) asset(i int) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.assets[i%len(v.assets)]
}

// stayConnected keeps up a connection for live updates as a browser does that
// has only long polling: where it breaks, it is opened anew. That it breaks is
// no fault, but that it can't be opened is.
func (v *visitor) stayConnected(ctx context.Context) {
	const path = "/socket.io/?EIO=4&transport=polling"
	session := regexp.MustCompile(`"sid":"([^"]+)"`)
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		opened, ok := v.ask("live updates", path)
		id := session.FindStringSubmatch(opened)
		for ok && id != nil && ctx.Err() == nil {
			pause(10 * visitEvery)
			// Held by the server until there is news; the client gives up
			// before, which here means no news.
			_, fault := v.get(path + "&sid=" + id[1])
			if ok = fault == "" || fault == noAnswer; ok {
				now := time.Now()
				v.note(answer{"live updates", now, now, ""})
			}
		}
		pause(visitEvery)
	}
}

// ask asks for a path and notes how it went.
func (v *visitor) ask(kind, path string) (body string, ok bool) {
	asked := time.Now()
	body, fault := v.get(path)
	v.note(answer{kind, asked, time.Now(), fault})
	return body, fault == ""
}

func (v *visitor) note(a answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers = append(v.answers, a)
}

// get returns the body, or what is wrong.
func (v *visitor) get(path string) (body, fault string) {
	request, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.scheme+"://"+v.address+path, nil)
	if err != nil {
		return "", err.Error()
	}
	request.Host = sandbox.Site
	response, err := v.client.Do(request)
	if err != nil {
		return "", faultOf(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return "", faultOf(err)
	case response.StatusCode != http.StatusOK:
		return "", response.Status
	case len(bytes.TrimSpace(text)) == 0:
		return "", "an empty answer"
	}
	return string(text), ""
}

func faultOf(err error) string {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return noAnswer
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return err.Error()
}

// leave ends the visit and returns the outage. The site has to be well by then.
func (v *visitor) leave(migrated time.Time) outage {
	v.t.Helper()
	v.wait(v.t.Errorf)
	// What is asked already is still waited for, and counts.
	v.end()
	v.asking.Wait()
	o := sumUp(v.answers, migrated)
	faults, slowest := map[string]int{}, map[string]answer{}
	for _, a := range v.answers {
		if old := slowest[a.kind]; a.came.Sub(a.asked) >= old.came.Sub(old.asked) {
			slowest[a.kind] = a
		}
		if a.fault == "" {
			continue
		}
		if faults[a.fault]++; faults[a.fault] == 1 {
			v.t.Logf("the first %s: %s, asked at %s", a.fault, a.kind, a.asked.UTC().Format(time.RFC3339Nano))
		}
	}
	for kind, a := range slowest {
		v.t.Logf("the slowest answer to %s took %s, asked at %s", kind, seconds(a.came.Sub(a.asked)), a.asked.UTC().Format(time.TimeOnly))
	}
	v.t.Logf("down for %s, faults: %v", seconds(o.down), faults)
	return o
}
