package setup

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/desiredeffect/erpnext-pipeline/internal/problem"
)

const (
	gib = 1 << 20 // in KiB
	// enoughMemory is what a bench with its database takes at a migration, and
	// shortMemory what a server that is sold with as much has left of it.
	enoughMemory = 4 * gib
	shortMemory  = enoughMemory - 400<<10
	// freeBeside stays free beside the swap file, for images.
	freeBeside = 10 * gib

	swapFile = "/swapfile"
)

// swap has a server with little memory get a swap file, where its file system takes
// one.
func swap(f Facts, _ Options) finding {
	memory := f.number("memory")
	if memory == 0 {
		return finding{}
	}
	size := fmt.Sprintf("%.1f GiB of memory and swap", float64(memory)/gib)
	if memory >= shortMemory {
		return finding{has: size}
	}
	missing := &problem.Problem{Code: "setup.swap", Subject: "memory of the host", Detail: "there are " + size + ", which is short for a bench with its database",
		Remedy: "pipeline setup makes a swap file"}
	// Up to whole GiB.
	wanted := (enoughMemory - memory + gib - 1) / gib
	why := ""
	switch {
	case f.is("container"):
		why = "it is a container, whose memory is up to its host"
	case f.is("swapfile"):
		why = swapFile + " is there and not in use"
	case !slices.Contains([]string{"ext2/ext3", "ext4", "xfs"}, f.get("root-type")):
		why = "its file system is " + f.get("root-type")
	case f.number("root-free") < wanted*gib+freeBeside:
		why = fmt.Sprintf("%.0f GiB are free, and %d GiB should be", float64(f.number("root-free"))/gib, wanted+freeBeside/gib)
	}
	if why != "" {
		missing.Remedy = "give it more memory; setup makes no swap file: " + why
		return finding{missing: missing}
	}
	return finding{missing: missing, does: fmt.Sprintf("make %s of %d GiB and use it", swapFile, wanted), act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "swap", "", swapFile, strconv.FormatInt(wanted<<10, 10), "/etc/fstab")
		return err
	}}
}

// firewall lets SSH and visitors in, where a firewall is active that takes orders. A
// port for which there is any rule is left as it is: whoever made that has decided
// about it.
func firewall(f Facts, o Options) finding {
	name := f.get("firewall")
	if !f.is("root") {
		return finding{}
	}
	if name == "" {
		return finding{has: "none is active"}
	}
	var closed []string
	for _, port := range o.ports(f.sshPort) {
		if text := strconv.Itoa(port); !slices.Contains(f.rules, text) {
			closed = append(closed, text)
		}
	}
	list := strings.Join(closed, ", ")
	missing := &problem.Problem{Code: "setup.firewall", Subject: "firewall " + name, Detail: "has no rule for TCP port " + list}
	switch {
	case name != "ufw" && name != "firewalld":
		missing.Detail = "lets in what its own rules say, which setup does not change"
		missing.Remedy = "see that they let TCP ports " + list + " in"
		return finding{missing: missing}
	case len(closed) == 0:
		return finding{has: name + " has rules for SSH and the site"}
	}
	missing.Remedy = "pipeline setup lets them in"
	return finding{missing: missing, does: "let TCP port " + list + " in", act: func(ctx context.Context, r root) error {
		_, err := r.do(ctx, "firewall", "", append([]string{name}, closed...)...)
		return err
	}}
}
