package engine

import (
	"strings"
	"testing"
)

func TestFromEnvironment(t *testing.T) {
	for name, test := range map[string]struct {
		environ []string
		want    Endpoint
		named   bool
	}{
		"nothing":       {[]string{"HOME=/root"}, Endpoint{}, false},
		"both":          {[]string{runnerHostVariable + "=unix:///e=1.sock", cliVariable + "=/bin/dagger"}, Endpoint{"unix:///e=1.sock", "/bin/dagger"}, true},
		"only engine":   {[]string{runnerHostVariable + "=tcp://e:1"}, Endpoint{RunnerHost: "tcp://e:1"}, true},
		"only command":  {[]string{cliVariable + "=/bin/dagger"}, Endpoint{CLI: "/bin/dagger"}, false},
		"set but empty": {[]string{runnerHostVariable + "="}, Endpoint{}, false},
		"last one wins": {[]string{runnerHostVariable + "=a", runnerHostVariable + "=b"}, Endpoint{RunnerHost: "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, named := fromEnvironment(test.environ)
			if got != test.want || named != test.named {
				t.Errorf("got %+v, %v; want %+v, %v", got, named, test.want, test.named)
			}
			if !named {
				return
			}
			if again, _ := fromEnvironment(got.Environ()); again != got {
				t.Errorf("its own environment gives %+v", again)
			}
		})
	}
}

func TestConnectToNamedEngine(t *testing.T) {
	endpoint := Endpoint{RunnerHost: "unix:///none.sock", CLI: t.TempDir() + "/dagger"}
	_, err := Connect(t.Context(), endpoint.Environ(), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "connect to engine unix:///none.sock: ") || !strings.Contains(err.Error(), endpoint.CLI) {
		t.Errorf("error is %v, want one of the engine and the command that the environment names", err)
	}
}
