package host

import (
	"testing"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		address string
		port    int
		want    string
	}{
		{"erp.example.com", 0, "erp.example.com:22"},
		{"Erp.Example.com", 2222, "erp.example.com:2222"},
		{"erp.example.com:2200", 2222, "erp.example.com:2200"},
		{"2001:db8::1", 2222, "[2001:db8::1]:2222"},
		{"[2001:db8::1]", 0, "[2001:db8::1]:22"},
		{"[2001:db8::1]:2200", 2222, "[2001:db8::1]:2200"},
	} {
		var report problem.Report
		got := Config{Address: c.address, Port: c.port, User: "deploy"}.normalize(&report)
		if got.Address != c.want || len(report) > 0 {
			t.Errorf("%s with port %d is %s, want %s; problems: %v", c.address, c.port, got.Address, c.want, report)
		}
	}
}
