package faults_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
)

// cell is a fault that happens when a step begins.
type cell struct {
	step  string
	fault fault
}

// job is a run in which faults happen, at one step after the other.
type job struct {
	strategy strategy
	cells    []cell
	// tries is how often these cells were tried already.
	tries int
}

// String is the job's name as a test.
func (j job) String() string {
	var names []string
	for _, c := range j.cells {
		names = append(names, c.step+"/"+c.fault.name)
	}
	return strings.ReplaceAll(j.strategy.name+"/"+strings.Join(names, ","), " ", "-")
}

// steps are the names of the steps of each strategy, by its name, in order.
type steps map[string][]string

func namesOf(planned []deploy.PlannedStep) []string {
	var names []string
	for _, s := range planned {
		names = append(names, s.Name)
	}
	return names
}

// whole is the whole matrix: every fault at every step of every strategy and its
// variants. One run has as many of them as a sample's has, each fault at most
// once, and the next run has each of them a step of it later. What a client has to
// be there for is left to a run of its own where it would come after the client
// was killed.
func whole(all steps) []job {
	var jobs []job
	for _, strategy := range strategies {
		for _, s := range strategy.variants() {
			rows := all[s.name]
			runs := runsFor(rows)
			for first := range runs {
				for turn := range columns {
					j, alone, killed := job{strategy: s}, job{strategy: s}, false
					for n, step := range spread(rows, first, runs) {
						c := cell{step, columns[(n+turn)%len(columns)]}
						killed = killed || c.fault.kills
						if killed && c.fault.needsClient {
							alone.cells = append(alone.cells, c)
						} else {
							j.cells = append(j.cells, c)
						}
					}
					jobs = append(jobs, j)
					if len(alone.cells) > 0 {
						jobs = append(jobs, alone)
					}
				}
			}
		}
	}
	return jobs
}

// runsFor is how many runs it takes to have a fault at each of the steps, and in
// no run one of them twice.
func runsFor(rows []string) int { return (len(rows) + len(columns) - 1) / len(columns) }

// spread returns the steps of one of the runs, as far apart as they can be, so
// that one fault is over before the next.
func spread(rows []string, first, runs int) []string {
	var own []string
	for at := first; at < len(rows); at += runs {
		own = append(own, rows[at])
	}
	return own
}

// sample is a part of the matrix: one run of each strategy, in which every fault
// happens once. The seed decides at which steps, and which of the rollbacks bring
// the data back.
func sample(all steps, seed uint64) []job {
	random := rand.New(rand.NewPCG(seed, seed))
	var jobs []job
	with := random.IntN(2)
	for _, s := range strategies {
		if variants := s.variants(); len(variants) > 1 {
			s = variants[with]
			with = 1 - with
		}
		rows := all[s.name]
		j := job{strategy: s}
		// One step of each stretch of them, equally far into it.
		into := random.Float64()
		for n, fault := range random.Perm(len(columns)) {
			at := int((float64(n) + into) / float64(len(columns)) * float64(len(rows)))
			j.cells = append(j.cells, cell{rows[at], columns[fault]})
		}
		j.killLate()
		jobs = append(jobs, j)
	}
	random.Shuffle(len(jobs), func(a, b int) { jobs[a], jobs[b] = jobs[b], jobs[a] })
	return jobs
}

// killLate puts the fault that kills the client behind those that a client has
// to be there for.
func (j job) killLate() {
	kill := slices.IndexFunc(j.cells, func(c cell) bool { return c.fault.kills })
	for last := len(j.cells) - 1; kill >= 0 && last > kill; last-- {
		if j.cells[last].fault.needsClient {
			j.cells[kill].fault, j.cells[last].fault = j.cells[last].fault, j.cells[kill].fault
			return
		}
	}
}

// queue hands out jobs. First releases come last: they leave a host on which
// the others lack what they begin with.
type queue struct {
	mu   sync.Mutex
	jobs []job
}

func newQueue(jobs []job) *queue {
	q := &queue{}
	q.add(jobs...)
	return q
}

func (q *queue) add(jobs ...job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, jobs...)
	first := func(j job) int {
		if j.strategy.first {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(q.jobs, func(a, b job) int { return cmp.Compare(first(a), first(b)) })
}

func (q *queue) next() (j job, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) == 0 {
		return job{}, false
	}
	j, q.jobs = q.jobs[0], q.jobs[1:]
	return j, true
}

// TestSample holds what a sample is to be for any seed.
func TestSample(t *testing.T) {
	all, count := steps{}, 0
	for n, s := range strategies {
		for step := range 12 + 3*n {
			all[s.name] = append(all[s.name], fmt.Sprintf("step-%02d", step))
		}
		if s.back {
			all[s.withData().name] = slices.Insert(slices.Clone(all[s.name]), 8+n, fmt.Sprintf("step-%02d-restore", 7+n))
		}
	}
	for list := range maps.Values(all) {
		count += len(list) * len(columns)
	}
	names := map[string]bool{}
	for _, j := range whole(all) {
		for _, c := range j.cells {
			name := j.strategy.name + "/" + c.step + "/" + c.fault.name
			if names[name] {
				t.Errorf("the whole matrix has %s twice", name)
			}
			names[name] = true
		}
		if wrong := outOfOrder(j); wrong != "" {
			t.Errorf("%s: %s", j, wrong)
		}
	}
	if len(names) != count {
		t.Errorf("the whole matrix has %d cells, want %d", len(names), count)
	}
	samples, tried := map[string]bool{}, map[string]bool{}
	for seed := range uint64(500) {
		jobs := sample(all, seed)
		if text := fmt.Sprint(jobs); text != fmt.Sprint(sample(all, seed)) {
			t.Fatalf("seed %d stands for two samples", seed)
		} else {
			samples[text] = true
		}
		// Of the strategies, and of their faults, how often.
		occurs := map[string]int{}
		restores := 0
		for _, j := range jobs {
			name := strings.TrimSuffix(j.strategy.name, " with data")
			occurs[name]++
			if j.strategy.restores {
				restores++
			}
			for _, c := range j.cells {
				occurs[name+"/"+c.fault.name]++
				tried[j.strategy.name+"/"+c.step] = true
				if !slices.Contains(all[j.strategy.name], c.step) {
					t.Errorf("seed %d: %s has no step %s", seed, j, c.step)
				}
			}
			if wrong := outOfOrder(j); wrong != "" {
				t.Errorf("seed %d: %s: %s", seed, j, wrong)
			}
		}
		for _, s := range strategies {
			if occurs[s.name] != 1 {
				t.Errorf("seed %d: %d runs of %s", seed, occurs[s.name], s.name)
			}
			for _, f := range columns {
				if occurs[s.name+"/"+f.name] != 1 {
					t.Errorf("seed %d: %s has %d times %s", seed, s.name, occurs[s.name+"/"+f.name], f.name)
				}
			}
		}
		if restores != 1 {
			t.Errorf("seed %d: %d rollbacks bring the data back", seed, restores)
		}
	}
	if len(samples) < 490 {
		t.Errorf("500 seeds make %d samples", len(samples))
	}
	for strategy, rows := range all {
		for _, step := range rows {
			if !tried[strategy+"/"+step] {
				t.Errorf("no seed tries %s/%s", strategy, step)
			}
		}
	}
}

// outOfOrder says what is wrong with the order of a job's cells.
func outOfOrder(j job) string {
	killed := false
	had := map[string]bool{}
	for n, c := range j.cells {
		switch {
		case had[c.fault.name]:
			return c.fault.name + " happens twice"
		case killed && c.fault.needsClient:
			return c.fault.name + " needs a client that was killed"
		case n > 0 && c.step <= j.cells[n-1].step:
			return c.step + " comes too late"
		}
		had[c.fault.name] = true
		killed = killed || c.fault.kills
	}
	return ""
}
