package progress

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template needs. Places along the time axis are in percent
// of the whole.
type page struct {
	Title, Total, Began string
	Counts              []count
	// PathTook is how long the stages of the path took together.
	PathTook string
	Path     []bar
	Problems []bar
	Ticks    []tick
	Bars     []bar
	// Links is the path from bar to bar, as the d of an SVG path, where a
	// bar is one high and the axis 100 wide.
	Links string
}

type count struct {
	N     int
	State state
}

type tick struct {
	Label string
	Left  float64
}

type bar struct {
	Name, Took, Start string
	State             state
	Left, Width       float64
	Critical          bool
	Needs             string
	Problem           string
}

// WriteHTML writes the stages as a page: one file that needs nothing else.
func (t *Timeline) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, t.page()); err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}

func (t *Timeline) page() page {
	spans := t.spans()
	began, total := period(spans)
	path := criticalPath(spans)
	percent := func(d time.Duration) float64 {
		if total <= 0 {
			return 0
		}
		return math.Round(float64(d)/float64(total)*1e5) / 1e3
	}
	text := func(raw string) string { return t.hide(clean(raw)) }

	p := page{Title: text(t.Title), Total: took(total), Ticks: ticks(total)}
	if p.Title == "" {
		p.Title = "Build"
	}
	if len(spans) > 0 {
		p.Began = began.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	counts := map[state]int{}
	for _, s := range spans {
		counts[s.state]++
		var needs []string
		for _, name := range s.needs {
			needs = append(needs, text(name))
		}
		b := bar{
			Name: text(s.name), State: s.state, Took: took(s.took()), Start: took(s.began.Sub(began)),
			Left: percent(s.began.Sub(began)), Width: percent(s.took()),
			Critical: slices.ContainsFunc(path, func(c span) bool { return c.name == s.name }),
			Needs:    strings.Join(needs, ", "),
		}
		if s.state == failed {
			b.Problem = text(firstLine(s.err))
			p.Problems = append(p.Problems, b)
		}
		p.Bars = append(p.Bars, b)
	}
	for _, s := range []state{made, cached, failed, stopped, running} {
		if counts[s] > 0 {
			p.Counts = append(p.Counts, count{counts[s], s})
		}
	}

	var pathTook time.Duration
	var links strings.Builder
	for i, s := range path {
		pathTook += s.took()
		row := func(s span) int { return slices.IndexFunc(spans, func(o span) bool { return o.name == s.name }) }
		p.Path = append(p.Path, p.Bars[row(s)])
		if i == 0 {
			continue
		}
		// Along the waiting first, then across the rows.
		before := path[i-1]
		fmt.Fprintf(&links, "M%g %gH%gV%g", percent(before.ended.Sub(began)), float64(row(before))+.5,
			percent(s.began.Sub(began)), float64(row(s))+.5)
	}
	p.PathTook, p.Links = took(pathTook), links.String()
	return p
}

// steps are the distances of ticks that are easily added up.
var steps = []time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
}

// ticks divides the axis into at most eight parts, or into hours.
func ticks(total time.Duration) []tick {
	if total <= 0 {
		return nil
	}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if total <= 8*s {
			step = s
			break
		}
	}
	var all []tick
	for at := time.Duration(0); at <= total; at += step {
		label := fmt.Sprintf("%gs", at.Seconds())
		if step >= 15*time.Second {
			label = fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60)
		}
		all = append(all, tick{label, math.Round(float64(at)/float64(total)*1e5) / 1e3})
	}
	return all
}

// Line is the line of the chart's grid in which a bar stands; the axis is the
// first.
func (page) Line(i int) int { return i + 2 }

// Even reports whether a bar stands on the darker stripe.
func (page) Even(i int) bool { return i%2 == 0 }
