package main

import (
	"bytes"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// network is the network of the engine's containers: a bridge on the machine,
// with a rule or two in its packet filter for every container.
type network struct {
	name string // the bridge is called so, with a 0 behind
	cidr string // the containers' addresses
}

// forget takes away what the network left on the machine. After a normal end
// that is the bridge, after a kill it is everything. It is best effort: what
// is not there can't be taken away, and what stays is tried again at the next
// start.
func (n network) forget() {
	// No bridge, no complaint.
	_ = exec.Command("ip", "link", "delete", n.name+"0").Run()

	if err := n.forgetRules(); err != nil {
		log.Print(err)
	}
	// Address leases and results of the network plugins.
	_ = os.RemoveAll(filepath.Join("/var/lib/cni/networks", n.name))
	results, _ := filepath.Glob(filepath.Join("/var/lib/cni/results", n.name+"-*"))
	for _, result := range results {
		_ = os.Remove(result)
	}
	for _, dir := range []string{"/var/lib/cni/networks", "/var/lib/cni/results", "/var/lib/cni"} {
		_ = os.Remove(dir) // only an empty one goes
	}
}

// forgetRules removes the network's rules from the packet filter, and after
// them the chains that the plugins share, when no other network uses those.
func (n network) forgetRules() error {
	rules, err := filterRules()
	if err != nil {
		return err
	}
	if err := changeRules(n.obsolete(rules)); err != nil {
		return err
	}
	if rules, err = filterRules(); err != nil {
		return err
	}
	// It fails, and changes nothing, when another network comes up just now.
	_ = changeRules(unusedChains(rules))
	return nil
}

// filterRules gives the machine's packet filter rules, in the format of
// iptables-save(8).
func filterRules() (string, error) {
	out, err := exec.Command("iptables-save").Output()
	if err != nil {
		return "", fmt.Errorf("read packet filter rules: %w", err)
	}
	return string(out), nil
}

// changeRules applies changes in the format of iptables-restore(8).
func changeRules(changes string) error {
	if changes == "" {
		return nil
	}
	restore := exec.Command("iptables-restore", "--noflush")
	restore.Stdin = strings.NewReader(changes)
	var stderr bytes.Buffer
	restore.Stderr = &stderr
	if err := restore.Run(); err != nil {
		return fmt.Errorf("remove packet filter rules: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

var (
	ruleAddress = regexp.MustCompile(` -[sd] (\d+\.\d+\.\d+\.\d+)/32 `)
	ruleTarget  = regexp.MustCompile(` -j (CNI-[0-9a-f]{24})$`)
)

// obsolete gives the changes that remove the network's rules. They are known
// by the comment that the bridge plugin gives them, or, those of the firewall
// plugin, by a container's address.
func (n network) obsolete(rules string) string {
	addresses, err := netip.ParsePrefix(n.cidr)
	if err != nil {
		return ""
	}
	comment := fmt.Sprintf(`"name: \"%s\" id: `, n.name)
	ours := func(rule string) bool {
		if strings.Contains(rule, comment) {
			return true
		}
		if !strings.HasPrefix(rule, "-A CNI-FORWARD ") {
			return false
		}
		match := ruleAddress.FindStringSubmatch(rule)
		if match == nil {
			return false
		}
		address, err := netip.ParseAddr(match[1])
		return err == nil && addresses.Contains(address)
	}
	return changes(rules, func(table []string) []string {
		var lines, chains []string
		for _, rule := range table {
			if !strings.HasPrefix(rule, "-A ") || !ours(rule) {
				continue
			}
			lines = append(lines, "-D "+strings.TrimPrefix(rule, "-A "))
			if match := ruleTarget.FindStringSubmatch(rule); match != nil {
				chains = append(chains, "-X "+match[1])
			}
		}
		return append(lines, chains...)
	})
}

// The chains of the firewall plugin, which all networks share.
const (
	forwardChain = "CNI-FORWARD"
	adminChain   = "CNI-ADMIN"
)

// unusedChains gives the changes that remove the shared chains, or nothing if
// a network still has rules there.
func unusedChains(rules string) string {
	return changes(rules, func(table []string) []string {
		var lines []string
		for _, rule := range table {
			switch {
			case strings.HasPrefix(rule, "-A FORWARD ") && strings.HasSuffix(rule, " -j "+forwardChain),
				strings.HasPrefix(rule, "-A "+forwardChain+" ") && strings.HasSuffix(rule, " -j "+adminChain):
				lines = append(lines, "-D "+strings.TrimPrefix(rule, "-A "))
			case strings.Contains(rule, forwardChain+" -") || strings.Contains(rule, adminChain+" -"):
				if strings.HasPrefix(rule, "-A ") {
					return nil // somebody's rule
				}
			}
		}
		for _, chain := range []string{forwardChain, adminChain} {
			if slices.ContainsFunc(table, func(line string) bool { return strings.HasPrefix(line, ":"+chain+" ") }) {
				lines = append(lines, "-X "+chain)
			}
		}
		return lines
	})
}

// changes asks for the changes to every table and gives them as one text.
func changes(rules string, change func(table []string) []string) string {
	var out strings.Builder
	var name string
	var table []string
	for line := range strings.Lines(rules) {
		line = strings.TrimRight(line, "\n ")
		switch {
		case strings.HasPrefix(line, "*"):
			name, table = line, nil
		case line == "COMMIT":
			if lines := change(table); len(lines) > 0 {
				fmt.Fprintf(&out, "%s\n%s\nCOMMIT\n", name, strings.Join(lines, "\n"))
			}
		default:
			table = append(table, line)
		}
	}
	return out.String()
}

// forwardingFile is the kernel's switch for passing packets on between
// networks. The bridge plugin turns it on.
const forwardingFile = "/proc/sys/net/ipv4/ip_forward"

// forwards says whether the machine passes packets on.
func forwards() bool {
	value, err := os.ReadFile(forwardingFile)
	return err != nil || strings.TrimSpace(string(value)) != "0"
}

// stopForwarding turns passing on off again, unless another bridge has come up
// that may need it.
func stopForwarding() {
	if bridges, _ := filepath.Glob("/sys/class/net/*/bridge"); len(bridges) > 0 {
		return
	}
	if err := os.WriteFile(forwardingFile, []byte("0\n"), 0o644); err != nil {
		log.Printf("turn off forwarding: %v", err)
	}
}
