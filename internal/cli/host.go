package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// dial connects to the host.
func (s *streams) dial(ctx context.Context, cfg config.Config) (*host.Host, error) {
	return host.Dial(ctx, sshConfig(cfg, s.log))
}
