package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/desiredeffect/erpnext-pipeline/internal/secret"
)

// holder has a secret where printing by reflection would find it.
type holder struct {
	Name   string
	Token  secret.Secret
	inner  secret.Secret
	behind *secret.Secret
	list   []secret.Secret
	byName map[string]secret.Secret
}

func TestSecretIsMaskedWhateverPrintsIt(t *testing.T) {
	s := secret.New(token)
	h := holder{Name: "registry", Token: s, inner: s, behind: &s, list: []secret.Secret{s}, byName: map[string]secret.Secret{"token": s}}
	asJSON, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var logged, structured bytes.Buffer
	zerolog := zerolog.New(&logged)
	zerolog.Info().Interface("registry", h).Stringer("token", s).Any("any", s).Msgf("with %v", s)
	slog.New(slog.NewTextHandler(&structured, nil)).Info("with", "token", s)
	for name, got := range map[string]string{
		"%v": fmt.Sprintf("%v", s), "%+v": fmt.Sprintf("%+v", s), "%#v": fmt.Sprintf("%#v", s),
		"%s": fmt.Sprintf("%s", s), "%q": fmt.Sprintf("%q", s), "%x": fmt.Sprintf("%x", s), "%d": fmt.Sprintf("%d", s),
		"a pointer": fmt.Sprintf("%v", &s), "a struct": fmt.Sprintf("%+v", h), "a struct in Go's syntax": fmt.Sprintf("%#v", h),
		"a list": fmt.Sprint([]secret.Secret{s}), "a map": fmt.Sprint(map[string]secret.Secret{"token": s}),
		"an error": fmt.Errorf("log in with %v: %w", s, errors.New("refused")).Error(),
		"JSON":     string(asJSON), "zerolog": logged.String(), "slog": structured.String(),
	} {
		if strings.Contains(got, token) || strings.Contains(got, fmt.Sprintf("%x", token)) {
			t.Errorf("%s gives the value away: %s", name, got)
		}
		if !strings.Contains(got, secret.Mask) {
			t.Errorf("%s has no mask: %s", name, got)
		}
	}
}

func TestUnsetSecret(t *testing.T) {
	for name, s := range map[string]secret.Secret{"the zero value": {}, "an empty value": secret.New("")} {
		if s.IsSet() {
			t.Errorf("%s counts as set", name)
		}
		if got := fmt.Sprintf("[%v]", s); got != "[]" {
			t.Errorf("%s prints as %s, want nothing", name, got)
		}
	}
	if s := secret.New(token); !s.IsSet() || s.Reveal() != token {
		t.Errorf("a set secret gives %q back, want %q", s.Reveal(), token)
	}
}
