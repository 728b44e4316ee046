// Command pipeline takes a Frappe or ERPNext site from a release tag to live
// and migrated, or leaves everything as it was.
//
// It is the front door: it reads flags, wires the rooms together and renders
// what they answer. Nothing here knows how an image is built or a site is
// migrated.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: main without the process. It returns the exit
// code.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := newStreams(environ, stdin, stdout, stderr)
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := s.report(ctx, err)
	s.flush()
	return code
}
