package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
	"github.com/desiredeffect/erpnext-pipeline/internal/config"
)

// dial connects to the host.
func (s *streams) dial(ctx context.Context, target config.Target) (*host.Host, error) {
	c := target.SSH()
	c.Log = s.log
	return host.Dial(ctx, c)
}
