package localengine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	must := func(l *fileLock, err error) *fileLock {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if l == nil {
			t.Fatal("lock is held")
		}
		return l
	}
	first := must(try(path, shared))
	second := must(try(path, shared))
	if l, err := try(path, exclusive); l != nil || err != nil {
		t.Fatalf("with two users, exclusive lock is %v, %v", l, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPoll)
	defer cancel()
	if _, err := acquire(ctx, path, exclusive); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("waiting ended with %v, want the context's end", err)
	}
	first.release()
	if held, err := second.change(exclusive); !held || err != nil {
		t.Fatalf("the only user can't have it exclusively: %v", err)
	}
	time.AfterFunc(lockPoll, second.release)
	must(acquire(t.Context(), path, exclusive)).release()
}

// TestClaim holds that two sandboxes of one name can't destroy each other.
func TestClaim(t *testing.T) {
	e, other := &Engine{dir: t.TempDir()}, &Engine{}
	other.dir = e.dir
	giveBack, err := e.Claim("demo")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Claim("demo"); err == nil || !strings.Contains(err.Error(), "a sandbox called demo runs") {
		t.Errorf("a name that is taken: %v", err)
	}
	if another, err := other.Claim("another"); err != nil {
		t.Errorf("another name: %v", err)
	} else {
		another()
	}
	giveBack()
	if again, err := other.Claim("demo"); err != nil {
		t.Errorf("a name that was given back: %v", err)
	} else {
		again()
	}
}
