package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// outage is what a visitor saw of an update.
type outage struct {
	// down is from the first failed request until every kind of request is
	// answered well for good and the site is migrated.
	down          time.Duration
	asked, failed int
	// byKind are the failed requests of each kind.
	byKind map[string]int
	// slowest is the longest that a good answer took.
	slowest time.Duration
}

func (o outage) kinds() string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(o.byKind)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, o.byKind[kind]))
	}
	return strings.Join(kinds, ", ")
}

func sumUp(answers []answer, migrated time.Time) outage {
	o := outage{asked: len(answers), byKind: map[string]int{}}
	var begin time.Time
	last := map[string]time.Time{}
	for _, a := range answers {
		if a.fault == "" {
			o.slowest = max(o.slowest, a.came.Sub(a.asked))
			continue
		}
		o.failed++
		o.byKind[a.kind]++
		if begin.IsZero() || a.asked.Before(begin) {
			begin = a.asked
		}
		if a.asked.After(last[a.kind]) {
			last[a.kind] = a.asked
		}
	}
	if o.failed == 0 {
		return o
	}
	end := migrated
	for kind, failed := range last {
		var well time.Time
		for _, a := range answers {
			if a.kind == kind && a.fault == "" && a.asked.After(failed) && (well.IsZero() || a.came.Before(well)) {
				well = a.came
			}
		}
		if well.After(end) {
			end = well
		}
	}
	o.down = end.Sub(begin)
	return o
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

func TestSumUp(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name     string
		answers  []answer
		migrated time.Time
		want     outage
	}{
		{"nothing fails", []answer{{"ping", at(0), at(5), ""}, {"login page", at(50), at(90), ""}}, at(500), outage{asked: 2, slowest: 40 * time.Millisecond}},
		{"from the first failed request to the first good answer", []answer{
			{"ping", at(0), at(5), ""}, {"ping", at(100), at(5100), "timeout"}, {"ping", at(200), at(201), "refused"}, {"ping", at(900), at(950), ""}, {"ping", at(1000), at(1010), ""},
		}, at(0), outage{down: 850 * time.Millisecond, asked: 5, failed: 2, slowest: 50 * time.Millisecond, byKind: map[string]int{"ping": 2}}},
		{"until the last kind is well for good", []answer{
			{"ping", at(100), at(101), "refused"}, {"asset", at(150), at(151), "refused"}, {"ping", at(200), at(210), ""}, {"asset", at(250), at(260), ""},
			{"ping", at(300), at(310), ""}, {"asset", at(350), at(351), "404"}, {"asset", at(450), at(470), ""},
		}, at(0), outage{down: 370 * time.Millisecond, asked: 7, failed: 3, slowest: 20 * time.Millisecond, byKind: map[string]int{"ping": 1, "asset": 2}}},
		{"until it is migrated", []answer{{"ping", at(100), at(101), "refused"}, {"ping", at(200), at(210), ""}}, at(900),
			outage{down: 800 * time.Millisecond, asked: 2, failed: 1, slowest: 10 * time.Millisecond, byKind: map[string]int{"ping": 1}}},
	} {
		got := sumUp(c.answers, c.migrated)
		if got.down != c.want.down || got.asked != c.want.asked || got.failed != c.want.failed || got.slowest != c.want.slowest || got.kinds() != c.want.kinds() {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}
