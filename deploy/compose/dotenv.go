package compose

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// DotEnv writes values as a .env file that compose reads back unchanged:
// nothing in a value is taken for a reference to another, a comment or an
// escape. The result holds secrets; it belongs in a file of mode 0600.
//
// Compose's quoting can't express every text. A value that would be read back
// differently is an error that names its key and not the value.
func DotEnv(values map[string]secret.Secret) ([]byte, error) {
	var file strings.Builder
	for _, key := range slices.Sorted(maps.Keys(values)) {
		line, ok := dotEnvLine(key, values[key].Reveal())
		if !ok {
			return nil, fmt.Errorf("write %s to %s: its value can't be quoted for compose: leave out quotation marks and backslashes", key, EnvFile)
		}
		file.WriteString(line)
	}
	return []byte(file.String()), nil
}

// dotEnvLine tries one way of quoting after the other, and takes the first
// that compose's own parser reads back.
func dotEnvLine(key, value string) (string, bool) {
	double := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`).Replace(value)
	for _, line := range []string{
		key + "='" + value + "'\n",
		key + "='" + strings.ReplaceAll(value, "'", `\'`) + "'\n",
		key + `="` + double + "\"\n",
		key + `="` + strings.ReplaceAll(double, `\$`, "$$") + "\"\n",
	} {
		read, err := dotenv.UnmarshalWithLookup(line, nil)
		if err == nil && len(read) == 1 && read[key] == value {
			return line, true
		}
	}
	return "", false
}
