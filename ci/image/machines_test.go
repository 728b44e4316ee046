package image

import (
	"fmt"
	"testing"
)

func TestOnMachines(t *testing.T) {
	const six, idna, older = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n", "idna==3.3 \\\n    --hash=sha256:cc\n", "idna==2.9 \\\n    --hash=sha256:dd\n"
	const direct = "pypika @ git+https://example.com/pypika@0123456789012345678901234567890123456789\n"
	for name, c := range map[string]struct {
		locks map[string]string
		want  string
	}{
		"one":  {map[string]string{"x86_64": six + idna}, idna + six},
		"same": {map[string]string{"x86_64": six + direct, "aarch64": "# made by uv\n\n" + direct + six}, direct + six},
		"different": {
			map[string]string{"x86_64": idna + six, "aarch64": older + six + direct},
			"idna==2.9 ; platform_machine == 'aarch64' \\\n    --hash=sha256:dd\nidna==3.3 ; platform_machine == 'x86_64' \\\n    --hash=sha256:cc\n" +
				"pypika @ git+https://example.com/pypika@0123456789012345678901234567890123456789 ; platform_machine == 'aarch64'\n" + six,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := onMachines(c.locks)
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if _, err := parseRequirements(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMovesOnMachines(t *testing.T) {
	both := func(x86, arm string) string {
		return "idna==" + arm + " ; platform_machine == 'aarch64' \\\n    --hash=sha256:aa\nidna==" + x86 + " ; platform_machine == 'x86_64' \\\n    --hash=sha256:bb\n"
	}
	for _, c := range []struct{ before, after, want string }{
		{both("3.3", "2.9"), both("3.3", "2.10"), "[{idna 2.9 on aarch64, 3.3 on x86_64 2.10 on aarch64, 3.3 on x86_64}]"},
		{"idna==9.0\n", both("10.0", "9.0"), "[{idna 9.0 9.0 on aarch64, 10.0 on x86_64}]"},
		{both("3.3", "2.9"), both("3.3", "2.9"), "[]"},
	} {
		moves, err := Moves(c.before, c.after)
		if got := fmt.Sprint(moves); err != nil || got != c.want {
			t.Errorf("%s, %v, want %s", got, err, c.want)
		}
	}
	if n := CountPackages(both("3.3", "2.9") + "six==1.0\n"); n != 2 {
		t.Errorf("%d packages", n)
	}
}
