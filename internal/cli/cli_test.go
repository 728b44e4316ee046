package cli

import (
	"bytes"
	"strings"
	"testing"
)

// quietly runs the program in an empty folder, with an environment.
func quietly(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, environ, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestBadUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":           {[]string{"relaese"}, `unknown command "relaese"`},
		"unknown flag":              {[]string{"check", "--yse"}, "unknown flag: --yse"},
		"deploy without a version":  {[]string{"deploy"}, "accepts 1 arg(s), received 0"},
		"bad log format":            {[]string{"check", "--log-format", "xml"}, "--log-format takes auto, console or json"},
		"bad package name":          {[]string{"plan", "--upgrade-packages=-r"}, `--upgrade-packages takes the name of a Python package, not "-r"`},
		"version with arguments":    {[]string{"version", "1"}, `unknown command "1"`},
		"bench without a command":   {[]string{"bench"}, "requires at least 1 arg(s)"},
		"logs with a bad tail":      {[]string{"logs", "--tail", "many"}, `--tail takes a number of lines or all, not "many"`},
		"shell with arguments":      {[]string{"shell", "ls"}, `unknown command "ls"`},
		"prune of both":             {[]string{"prune", "--stages", "--only-copies"}, "--only-copies is about the host"},
		"prune of half a day":       {[]string{"prune", "--stages", "--older-than", "12h"}, `--older-than takes a number of days from 1d to 3650d, not "12h"`},
		"prune of the host by age":  {[]string{"prune", "--older-than", "7d"}, "--older-than goes with --stages"},
		"demo with half an own set": {[]string{"demo", "--release", "frappe/frappe=v1"}, "--release goes with --repositories"},
		"demo without a release":    {[]string{"demo", "--repositories", "/nowhere"}, "--repositories needs --release"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := quietly(t, nil, test.args...)
			if code != ExitUsage || !strings.Contains(errs, test.want) {
				t.Errorf("exit %d, want %d with %q in\n%s", code, ExitUsage, test.want, errs)
			}
			if out != "" {
				t.Errorf("standard output has %q", out)
			}
		})
	}
}
