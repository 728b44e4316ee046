package apps

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

const (
	// attempts is how often a request is made at most.
	attempts = 4
	// firstWait is the pause before the second attempt; each further pause
	// is twice as long.
	firstWait = 500 * time.Millisecond
	// longestWait is the longest pause that a server may ask for with
	// Retry-After. GitHub asks for a minute after a secondary rate limit.
	longestWait = 65 * time.Second
	// answerWithin is how long one attempt may take, answer included.
	answerWithin = 30 * time.Second
	// largestAnswer is far above what a hundred tags take, and above the
	// 7 MB of the largest list of files.
	largestAnswer = 16 << 20
)

// transport sends GET requests to one API: with its token, and again after a
// passing fault. It reads each answer whole, so that a connection that breaks
// in the middle of one counts as a fault as well.
type transport struct {
	next  http.RoundTripper
	host  string
	token secret.Secret
	// firstWait is the constant, except in tests.
	firstWait time.Duration
	log       zerolog.Logger
}

// RoundTrip sends one request. The token goes to the API's own host and
// nowhere else, whatever a redirect says.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	pause := t.firstWait
	for attempt := 1; ; attempt++ {
		response, err := t.once(request)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		wait, again := pause+rand.N(pause/2+1), err != nil
		if err == nil {
			wait, again = t.again(response, wait)
		}
		if !again || attempt == attempts {
			return response, err
		}
		event := t.log.Debug().Str("url", request.URL.String()).Int("attempt", attempt).Dur("wait", wait).Err(err)
		if response != nil {
			event = event.Int("status", response.StatusCode)
		}
		event.Msg("asking GitHub again")
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		pause *= 2
	}
}

func (t *transport) once(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(request.Context(), answerWithin)
	defer cancel()
	request = request.Clone(ctx)
	if t.token.IsSet() && request.URL.Host == t.host {
		request.Header.Set("Authorization", "Bearer "+t.token.Reveal())
	}
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(body) > largestAnswer {
		return nil, fmt.Errorf("read answer: more than %d bytes", largestAnswer)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// again reports whether an answer is worth another attempt, and after how long.
// A used-up rate limit is not: it lasts up to an hour.
func (t *transport) again(response *http.Response, wait time.Duration) (time.Duration, bool) {
	limited := response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusTooManyRequests
	if response.StatusCode < 500 && !limited {
		return 0, false
	}
	after := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(after); err == nil && seconds >= 0 {
		asked := time.Duration(seconds) * time.Second
		return max(asked, wait), asked <= longestWait
	}
	if limited {
		return wait, response.StatusCode == http.StatusTooManyRequests && response.Header.Get("X-RateLimit-Remaining") != "0"
	}
	return wait, true
}
