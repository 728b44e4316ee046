package writer

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Place is where rows can be after a run.
type Place struct {
	// Name is the dump's path on the host, or Live.
	Name string
	Rows []string
	// Unnamed says that the run has not printed the name.
	Unnamed bool
}

// Live is the name of the place that is the site itself.
const Live = "the site"

// DumpsScript is a shell script for the host that prints the rows in the dumps
// of a run: those of sites that were open already when the run went back, and,
// where the third argument is "backup", those that it took before it changed
// anything. The first arguments are the pipeline's folder and the run.
//
//go:embed dumps.sh
var DumpsScript string

// ParseDumps reads what [DumpsScript] printed.
func ParseDumps(output string) ([]Place, error) {
	var places []Place
	for line := range strings.Lines(output) {
		kind, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case kind == "named" || kind == "unnamed":
			places = append(places, Place{Name: text, Unnamed: kind == "unnamed"})
		case kind == "has" && len(places) > 0:
			at := &places[len(places)-1]
			at.Rows = append(at.Rows, strings.Trim(text, "'"))
		default:
			return nil, fmt.Errorf("read dumps: %q is no place and no row", line)
		}
	}
	return places, nil
}

// Live returns the site as a place.
func (s Site) Live(ctx context.Context) (Place, error) {
	rows, err := s.live(ctx)
	return Place{Name: Live, Rows: rows}, err
}

// Find says where each acknowledged row is: in the first place that has it. One
// that is nowhere, or nowhere but in a dump that the run has not named, is an
// error, and so is any row that a place has twice.
func Find(acknowledged []string, places ...Place) (found map[string]int, err error) {
	var wrong []string
	where := map[string]string{}
	for _, place := range places {
		times := map[string]int{}
		for _, row := range place.Rows {
			times[row]++
			if _, ok := where[row]; !ok && !place.Unnamed {
				where[row] = place.Name
			}
		}
		for _, row := range slices.Sorted(maps.Keys(times)) {
			if times[row] > 1 {
				wrong = append(wrong, fmt.Sprintf("%s: %d times in %s", row, times[row], place.Name))
			}
		}
	}
	found = map[string]int{}
	for _, row := range acknowledged {
		if at, ok := where[row]; ok {
			found[at]++
			continue
		}
		lost := row + ": acknowledged, and nowhere"
		for _, place := range places {
			if slices.Contains(place.Rows, row) {
				lost = row + ": acknowledged, and only in " + place.Name + ", which the run has not named"
			}
		}
		wrong = append(wrong, lost)
	}
	if len(wrong) > 0 {
		return found, fmt.Errorf("of %d acknowledged rows:\n%s", len(acknowledged), strings.Join(wrong, "\n"))
	}
	return found, nil
}
