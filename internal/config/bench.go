package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// ours are the keys of common_site_config.json that a release writes itself, in
// the configuration of each site, while it runs: set for all of them, no site
// would ever open.
var ours = []string{"maintenance_mode", "pause_scheduler"}

// benchConfig is the rule of what is merged into common_site_config.json. It may
// hold passwords: none of it is quoted.
func benchConfig(value string) (wrong, remedy string) {
	var config map[string]any
	err := json.Unmarshal([]byte(value), &config)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		before := value[:min(int(syntax.Offset), len(value))]
		return fmt.Sprintf("is not JSON from line %d, character %d on", strings.Count(before, "\n")+1, max(1, len(before)-strings.LastIndexByte(before, '\n')-1)),
			`write an object, for instance {"mail_server": "smtp.example.com"}`
	}
	if err != nil || config == nil {
		return "is no JSON object", `write an object, for instance {"mail_server": "smtp.example.com"}`
	}
	for _, key := range ours {
		if config[key] != nil {
			return "sets " + key, "leave it out: a release closes sites and opens them, one at a time"
		}
	}
	return "", ""
}

// passwordsIn returns the credentials in a configuration, however deep: what the names
// of keys say, and what stands in an address.
func passwordsIn(text secret.Secret) (found []secret.Secret) {
	var config any
	decoder := json.NewDecoder(strings.NewReader(text.Reveal()))
	decoder.UseNumber()
	if decoder.Decode(&config) != nil {
		return nil
	}
	var look func(key string, value any)
	look = func(key string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(value)) {
				look(name, value[name])
			}
		case []any:
			for _, one := range value {
				look(key, one)
			}
		case string:
			if inside := credentials(secret.New(value)); inside.IsSet() {
				found = append(found, inside)
			}
			if isCredential(key) && value != "" {
				found = append(found, secret.New(value))
			}
		case json.Number:
			if isCredential(key) {
				found = append(found, secret.New(value.String()))
			}
		}
	}
	look("", config)
	return found
}
