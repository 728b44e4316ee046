package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// The limits are those of the project's own compose file, for containers of others.
const (
	logDriver = `"log-driver": "json-file"`
	logOpts   = `"max-size": "10m", "max-file": "5"`
)

// logLimits has Docker limit what it keeps of the logs of containers that say nothing
// about it themselves. Whoever chose another log driver has decided about that.
func logLimits(f Facts, _ Options) finding {
	const has = "Docker keeps no log without limit"
	if f.is("log-flags") {
		return finding{has: has + ", by its command line"}
	}
	missing := &problem.Problem{Code: "setup.log-limits", Subject: "Docker's settings",
		Detail: "set no limit for the logs of containers", Remedy: `pipeline setup sets one in /etc/docker/daemon.json (` + logDriver + `, "log-opts": {` + logOpts + `})`}
	text, err := f.settings()
	if err != nil || f.is("settings-hidden") {
		return finding{}
	}
	limited, changed, err := limitLogs(text)
	switch {
	case err != nil:
		missing.Detail, missing.Remedy = "can't be read: "+err.Error(), "correct /etc/docker/daemon.json on the host"
		return finding{missing: missing}
	case !changed && f.is("settings-unread") && f.is("docker"):
		missing.Detail, missing.Remedy = "are newer than the Docker that runs", "restart Docker on the host when its containers may stop"
		return finding{missing: missing}
	case !changed:
		return finding{has: has}
	}
	restart, does := "", "limit them in /etc/docker/daemon.json (10 MB in each of 5 files)"
	switch {
	case !f.is("docker"):
	case f.get("containers") == "0":
		restart, does = "yes", does+" and restart Docker, which runs no container"
	default:
		does += "; it counts when Docker is restarted, for containers that are made then"
	}
	return finding{missing: missing, does: does, act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "log-limits", string(limited), restart)
		return err
	}}
}

// limitLogs returns Docker's settings with a limit for logs, and whether that changes
// them. What else they have stays as it is written.
func limitLogs(text []byte) ([]byte, bool, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return []byte("{\n  " + logDriver + ",\n  \"log-opts\": { " + logOpts + " }\n}\n"), true, nil
	}
	var settings struct {
		Driver *string         `json:"log-driver"`
		Opts   json.RawMessage `json:"log-opts"`
	}
	if err := json.Unmarshal(text, &settings); err != nil {
		return nil, false, err
	}
	if settings.Driver != nil && *settings.Driver != "json-file" {
		return text, false, nil
	}
	var insert string
	where := "log-opts"
	var opts map[string]any
	switch err := json.Unmarshal(settings.Opts, &opts); {
	case settings.Opts == nil:
		insert, where = `"log-opts": { `+logOpts+` }`, ""
	case err != nil || opts == nil:
		return nil, false, errors.New("log-opts is no object")
	case opts["max-size"] != nil:
		return text, false, nil
	case opts["max-file"] != nil:
		insert = `"max-size": "10m"`
	default:
		insert = logOpts
	}
	if settings.Driver == nil && where == "" {
		insert = logDriver + ",\n  " + insert
	}
	at, empty, err := insideOf(text, where)
	if err != nil {
		return nil, false, err
	}
	if !empty {
		insert += ","
	}
	limited := fmt.Sprintf("%s\n  %s%s", text[:at], insert, text[at:])
	if empty {
		limited = fmt.Sprintf("%s\n  %s\n%s", text[:at], insert, bytes.TrimLeft(text[at:], " \t\r\n"))
	}
	return []byte(limited), true, nil
}

// insideOf returns where the object of a key begins, right after its brace, or that of
// the whole text, and whether it is empty.
func insideOf(text []byte, key string) (at int64, empty bool, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	depth, isKey, found := 0, false, key == ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return 0, false, fmt.Errorf("it has no object %s", key)
		}
		if err != nil {
			return 0, false, err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if found {
				at = decoder.InputOffset()
				return at, !decoder.More(), nil
			}
			depth++
			isKey = depth == 1
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			isKey = depth == 1
			continue
		}
		if depth == 1 {
			found = isKey && token == key
			isKey = !isKey
		}
	}
}
