package problem

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hbollon/go-edlib"
)

// Nearest returns the known name that a name was most likely meant to be, for a
// remedy, or "" where none is near: where more than a third of its letters are
// others.
func Nearest(name string, known []string) string {
	for _, near := range NearestOf(name, known, 1, 3) {
		return near
	}
	return ""
}

// NearestOf returns at most n of the known names that a name may have been
// meant to be, the most alike first, among equals in the order of known. To be
// near, at most one of share letters of the name may have been put in, left out,
// replaced or swapped with a neighbour, one in any case. Upper and lower case
// count as the same.
func NearestOf(name string, known []string, n, share int) []string {
	type candidate struct {
		name     string
		distance int
	}
	least := max(1, utf8.RuneCountInString(name)/share)
	var near []candidate
	for _, k := range known {
		distance := edlib.OSADamerauLevenshteinDistance(strings.ToLower(name), strings.ToLower(k))
		if distance <= least {
			near = append(near, candidate{k, distance})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	names := make([]string, 0, n)
	for _, c := range near[:min(n, len(near))] {
		names = append(names, c.name)
	}
	return names
}
