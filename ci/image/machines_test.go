package image

import "testing"

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
