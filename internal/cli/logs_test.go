package cli

import (
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/deploy"
	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
)

func TestUnknownServices(t *testing.T) {
	live := deploy.Live{Project: compose.Project{Name: "erp"}}
	for _, service := range []string{"db", "backend", "backend", "queue-short"} {
		live.Containers = append(live.Containers, compose.Container{Service: service})
	}
	report := unknownServices(live, []string{"backend", "bakcend", "postgres"})
	var text strings.Builder
	if err := report.Render(&text); err != nil {
		t.Fatal(err)
	}
	const want = "✗ service bakcend: is not one of project erp\n  fix: write backend; there are backend, db, queue-short\n" +
		"✗ service postgres: is not one of project erp\n  fix: there are backend, db, queue-short\n"
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}
