//go:build !linux

package e2e

import "testing"

func (u *user) shellOnTerminal(t *testing.T) { t.Skip("makes terminals as Linux has them") }
