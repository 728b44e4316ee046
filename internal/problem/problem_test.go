package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestRender(t *testing.T) {
	for _, c := range []struct {
		name   string
		report problem.Report
		want   string
	}{
		{"nothing found", nil, ""},
		{
			"with a remedy",
			problem.Report{{Subject: "apps.json:7", Detail: "hrms v15.99.0: no such tag in frappe/hrms", Remedy: "newest is v15.33.0"}},
			"✗ apps.json:7: hrms v15.99.0: no such tag in frappe/hrms\n  fix: newest is v15.33.0\n",
		},
		{
			"without a remedy",
			problem.Report{{Subject: "host", Detail: "not tried"}},
			"✗ host: not tried\n",
		},
		{
			"in the order found",
			problem.Report{{Subject: "b", Detail: "second letter"}, {Subject: "a", Detail: "first letter"}},
			"✗ b: second letter\n✗ a: first letter\n",
		},
		{
			"of many lines",
			problem.Report{{Subject: "uv", Detail: "no solution:\nredis==3.5.3\n", Remedy: "take one of:\nwiki 2.0.2"}},
			"✗ uv: no solution:\n    redis==3.5.3\n  fix: take one of:\n    wiki 2.0.2\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if err := c.report.Render(&out); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// fullDisk takes so many writes and then no more.
type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left == 0 {
		return 0, errors.New("no space left")
	}
	d.left--
	return len(p), nil
}

func TestRenderPassesErrorsOn(t *testing.T) {
	report := problem.Report{{Subject: "host", Detail: "unknown key", Remedy: "add it"}}
	for writes := range 2 {
		if err := report.Render(&fullDisk{left: writes}); err == nil || err.Error() != "no space left" {
			t.Errorf("after %d writes: got error %v, want no space left", writes, err)
		}
	}
}

func TestReportAsError(t *testing.T) {
	var report problem.Report
	if err := report.Err(); err != nil {
		t.Errorf("an empty report is the error %v", err)
	}
	report.Addf("config.value", ".env:3", "write a number", "HTTP_PORT is %q", "x")
	report.Add(problem.Problem{Code: "config.file", Subject: "id_ed25519", Detail: "cannot be read", Err: fmt.Errorf("open key: %w", fs.ErrPermission)})
	err := fmt.Errorf("load configuration: %w", report.Err())
	if got, want := err.Error(), `load configuration: .env:3: HTTP_PORT is "x"; id_ed25519: cannot be read`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the error under the second problem is not found")
	}
	var first problem.Problem
	if !errors.As(err, &first) || first.Code != "config.value" || first.Remedy != "write a number" {
		t.Errorf("the first problem is not found: %+v", first)
	}
	var whole *problem.Error
	if !errors.As(err, &whole) || len(whole.Report) != 2 {
		t.Errorf("the report is not found: %+v", whole)
	}
	report[0].Detail = "changed later"
	if got := whole.Report[0].Detail; got != `HTTP_PORT is "x"` {
		t.Errorf("the error changed with the report: %q", got)
	}
}

func TestProblemAsJSON(t *testing.T) {
	got, err := json.Marshal(problem.Report{{Code: "config.value", Subject: ".env:3", Detail: "bad", Err: errors.New("inner")}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `[{"code":"config.value","subject":".env:3","detail":"bad"}]`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
