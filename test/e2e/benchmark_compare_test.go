package e2e

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// layers are an image's layers with what its history says of them.
func (b *benchmark) layers(image v1.Image) []string {
	b.t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		b.t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		b.t.Fatal(err)
	}
	var list []string
	for i, layer := range manifest.Layers {
		list = append(list, config.History[i].CreatedBy+" "+layer.Digest.String())
	}
	return append(list, "configuration "+manifest.Config.Digest.String())
}

// image returns a pushed image by what a build printed.
func (b *benchmark) image(printed string) v1.Image {
	b.t.Helper()
	base, digest, _ := strings.Cut(printed, "@")
	tag, err := name.NewTag(base)
	if err != nil {
		b.t.Fatal(err)
	}
	image, err := remote.Image(tag.Context().Digest(digest), remote.WithContext(b.t.Context()))
	if err != nil {
		b.t.Fatal(err)
	}
	return image
}

// sizes returns the compressed layers of an image by digest, and those above its
// base: the bench.
func (b *benchmark) sizes(image v1.Image, below int) (layers map[string]int64, whole, bench int64) {
	b.t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		b.t.Fatal(err)
	}
	layers = map[string]int64{}
	for i, layer := range manifest.Layers {
		layers[layer.Digest.String()] = layer.Size
		whole += layer.Size
		if i >= below {
			bench += layer.Size
		}
	}
	return layers, whole, bench
}

// pulledBeside is the size of those of an image's layers that a host which has others
// pulls.
func pulledBeside(there, layers map[string]int64) (size int64) {
	for digest := range layers {
		if there[digest] == 0 {
			size += layers[digest]
		}
	}
	return size
}

// compare compares both, and with the limits.
func (b *benchmark) compare(stages, oneStep result) {
	b.t.Helper()
	fail := func(bad bool, what, format string, args ...any) {
		b.rows = append(b.rows, append([]string{what}, fmt.Sprintf(format, args...)))
		if bad {
			b.t.Errorf("%s: %s", what, fmt.Sprintf(format, args...))
		}
	}
	times := func(what string, mine, other time.Duration, limit float64) {
		ratio := other.Seconds() / mine.Seconds()
		fail(ratio < limit, what, "%.1f s\t%.1f s\t%.1f times\tat least %g", other.Seconds(), mine.Seconds(), ratio, limit)
	}
	times(coldCase, stages.took[coldCase], oneStep.took["cold"], b.limits.cold)
	times("one app, Python only, warm", stages.took["Python"], oneStep.took["change"], b.limits.python)
	times("one app, its bundle changed, warm", stages.took["bundle"], oneStep.took["change"], b.limits.bundle)
	times("one app, its own front end changed, warm", stages.took["front end"], oneStep.took["change"], b.limits.front)
	times(elsewhereCase, stages.took[elsewhereCase], oneStep.took["cold"], b.limits.elsewhere)
	under := func(what string, took, limit time.Duration) {
		fail(took > limit, what, "-\t%.2f s\t\tunder %v", took.Seconds(), limit)
	}
	under(unchangedCase, stages.took[unchangedCase], b.limits.unchanged)
	under(resolveCase, stages.took[resolveCase], b.limits.resolve)

	manifest, err := oneStep.cold.Manifest()
	if err != nil {
		b.t.Fatal(err)
	}
	before, mine, myBench := b.sizes(stages.cold, 2)
	_, other, otherBench := b.sizes(oneStep.cold, len(manifest.Layers)-1)
	share := func(what string, mine, other int64, limit float64) {
		part := float64(mine) / float64(other)
		fail(part > limit, what, "%.1f MB\t%.1f MB\t%.1f %%\tat most %g %%", float64(other)/1e6, float64(mine)/1e6, 100*part, 100*limit)
	}
	share("size of the bench, compressed", myBench, otherBench, b.limits.bench)
	share("size of the image, compressed", mine, other, b.limits.image)
	after, _, _ := b.sizes(stages.python, 2)
	pulled := pulledBeside(before, after)
	fail(float64(pulled) > 0.05*float64(mine), "the host pulls when one app changed", "%.1f MB\t%.2f MB\t%.2f %% of the image\tat most 5 %%", float64(otherBench)/1e6, float64(pulled)/1e6, 100*float64(pulled)/float64(mine))
}

func (b *benchmark) table() string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tone step\tstages\tratio\tlimit")
	for _, row := range b.rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	_ = table.Flush()
	return text.String()
}
