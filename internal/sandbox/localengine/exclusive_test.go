package localengine

import (
	"context"
	"testing"
	"time"
)

func TestExclusive(t *testing.T) {
	dir := t.TempDir()
	begin := func(how func(context.Context, string) (func(), error)) func() {
		t.Helper()
		done, err := how(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	// refused holds that no other test can begin now.
	refused := func(what string, how func(context.Context, string) (func(), error)) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
		defer cancel()
		if done, err := how(ctx, dir); err == nil {
			done()
			t.Error(what)
		}
	}
	one, two := begin(Shared), begin(Shared)
	refused("alone beside others", Exclusive)
	one()
	first := make(chan func())
	go func() {
		done, err := Exclusive(t.Context(), dir)
		if err != nil {
			t.Error(err)
		}
		first <- done
	}()
	// What waits to be alone keeps others from beginning.
	for begun := time.Now(); ; time.Sleep(lockPoll) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
		done, err := Shared(ctx, dir)
		cancel()
		if err != nil {
			break
		}
		done()
		if time.Since(begun) > 10*time.Second {
			t.Fatal("others begin while one waits to be alone")
		}
	}
	two()
	done := <-first
	refused("beside one that is alone", Shared)
	refused("two alone", Exclusive)
	done()
	begin(Shared)()
}
