package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/desiredeffect/erpnext-pipeline/deploy/compose"
	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

// certificateTime is how long the host has to take a certificate and see it served.
const certificateTime = 3 * time.Minute

// PutCertificate has the live release answer with the certificate of the target, and
// returns what is served then, a line for each domain. The proxy goes on meanwhile, and
// the release stays what it is. What is in the way of it is a [problem.Report].
func PutCertificate(ctx context.Context, h Host, t Target) (string, error) {
	report := t.validate()
	if t.TLS.Mode != compose.TLSFiles {
		report.Addf("certificate.none", "TLS", "set TLS=files, with TLS_CERT_FILE and TLS_KEY_FILE; with acme and dns the proxy renews certificates by itself",
			"is %s, so there is no certificate to put live", t.TLS.Mode)
	}
	if len(report) > 0 {
		return "", report.Err()
	}
	given, err := t.TLS.Dynamic()
	if err != nil {
		return "", err
	}
	// Half of it would leave the host with another one than its proxy has.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), certificateTime)
	defer cancel()
	arguments := append([]string{t.Dir, t.Project, stepFile("certificate.py"), strconv.Itoa(t.TLS.Port)}, t.TLS.Domains...)
	result, err := h.Run(ctx, script(recordedScript+putCertificateScript, arguments...), host.Options{Stdin: bytes.NewReader(given)})
	said := strings.TrimSpace(result.Stdout)
	var ended *host.RunError
	if !errors.As(err, &ended) {
		if err != nil {
			err = fmt.Errorf("put certificate: %w", err)
		}
		return said, err
	}
	found := problem.Problem{Code: "certificate.put", Subject: "certificate", Err: err}
	switch ended.Exit {
	case 44:
		found.Detail, found.Remedy = "a run is under way on the host, or waits there", "wait for it; pipeline status shows what it does"
	case 45:
		found.Detail, found.Remedy = "the live release was not made with TLS=files, so its proxy would not look for one", "release with TLS=files first"
	case 46:
		found.Detail, found.Remedy = "the proxy does not run", "pipeline status shows what does, pipeline logs traefik why"
	case 47:
		found.Detail, found.Remedy = "the proxy has it and goes on serving another one: "+said, "pipeline logs traefik shows why"
	default:
		return said, fmt.Errorf("put certificate: %w", err)
	}
	return said, problem.Report{found}.Err()
}
