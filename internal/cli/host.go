package cli

import (
	"context"

	"github.com/desiredeffect/erpnext-pipeline/deploy/host"
)

// dial connects to the host.
func (s *streams) dial(ctx context.Context, c host.Config) (*host.Host, error) {
	c.Log = s.log
	return host.Dial(ctx, c)
}
