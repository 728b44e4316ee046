package faults_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A gate holds a run when it begins a step: faults that follow one another in
// a run each meet the step that they are for, however long the one before
// takes. The runner is stopped, and nothing else; it goes on as soon as the
// fault happens.
const (
	// The gate is a process of its own on the host, which outlives a session.
	setGate = `mkdir -p gates && rm -f "gates/$4".*
setsid timeout 240 bash -c "$5" gate "$1" "$2" "$3" "$4" >/dev/null 2>&1 </dev/null &`

	gateProgram = `dir=$1 after=$2 step=$3 gate=$HOME/gates/$4
until run=$(ls -1 "$dir/runs" 2>/dev/null | tail -n 1) && [[ $run > $after ]] && [ -e "$dir/runs/$run/journal" ]; do sleep 0.02; done
cd "$dir/runs/$run"
# After a restart of the host the lock names a runner that is gone until the
# next one has it.
boot=$(cat /proc/sys/kernel/random/boot_id)
while [ -e "$dir/lock" ] && ! grep -qx "boot=$boot" "$dir/lock"; do sleep 0.01; done
# Nothing may come between the line and the stop: some steps are over in no time.
pid=$(sed -n 's/^pid=//p' "$dir/lock")
trap 'kill -CONT $pid' EXIT
begins=" begin [0-9]+-$step\$"
says=ended
while read -r line; do
	if [[ $line =~ $begins ]]; then
		kill -STOP $pid
		says=at
		break
	fi
	if [[ $line == *" run-end "* ]]; then break; fi
done < <(exec tail --pid=$$ -n +1 -f journal)
if [ $says = at ]; then
	[[ $(tail -n 1 journal) =~ $begins ]] || says=passed
fi
echo $says >"$gate.part"
mv "$gate.part" "$gate.says"
[ $says != at ] || until [ -e "$gate.open" ]; do sleep 0.01; done`

	// What a gate says: at where it holds the run, passed where the step had
	// begun too long ago, ended where the run has ended without it.
	awaitGate = `until [ -e "gates/$1.says" ]; do sleep 0.02; done; cat "gates/$1.says"`
	openGate  = `touch "gates/$1.open"`
)

func (a *attempt) gate(n int) string { return a.label + "." + strconv.Itoa(n) }

// setGate has the run held at the step of a cell, if there is one with that
// number.
func (th *testHost) setGate(ctx context.Context, a *attempt, n int) error {
	if n >= len(a.cells) {
		return nil
	}
	_, err := th.bash(ctx, setGate, th.target.Dir, a.after, a.cells[n].step, a.gate(n), gateProgram)
	return err
}

// awaitGate returns what the gate says.
func (th *testHost) awaitGate(ctx context.Context, a *attempt, n int) (string, error) {
	type answer struct {
		says string
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan answer, 1)
	go func() {
		out, err := th.bash(ctx, awaitGate, a.gate(n))
		heard <- answer{out, err}
	}()
	client := a.client.ended
	var late <-chan time.Time
	for {
		select {
		case got := <-heard:
			return strings.TrimSpace(got.says), got.err
		case <-client:
			// The gate knows more: the run may go on without the client, or have
			// ended before it came here.
			client = nil
			if !a.client.killed {
				late = time.After(10 * time.Second)
			}
		case <-late:
			return "", fmt.Errorf("the client has ended, and no run that would come to %s: %s", a.cells[n].step, a.client.last.Error)
		}
	}
}
