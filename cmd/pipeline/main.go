// Command pipeline takes a Frappe or ERPNext site from a release tag to live
// and migrated, or leaves everything as it was.
//
// This is the process: its streams, signals and exit code. The commands are in
// internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/desiredeffect/erpnext-pipeline/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
