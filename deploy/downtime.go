package deploy

import (
	"strconv"
	"strings"
)

// downtime returns how long the site did not answer, in seconds: from the first
// refused request to the first good answer after the last refused one. It is
// zero for a site that never answered before.
func downtime(watched string) float64 {
	var from, to float64
	var up, down bool
	for line := range strings.Lines(watched) {
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		before, err := strconv.ParseFloat(words[0], 64)
		if err != nil {
			continue
		}
		after, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			continue
		}
		good := words[2] == "200"
		switch {
		case good && down:
			to, down = after, false
		case good:
			up = true
		case up && !down:
			down = true
			if from == 0 {
				from = before
			}
		}
	}
	return max(0, to-from)
}
