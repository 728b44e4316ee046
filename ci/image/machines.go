package image

import (
	"maps"
	"slices"
	"strings"

	"dagger.io/dagger"
)

// machine is what Python calls a platform's processor (platform.machine).
func machine(platform dagger.Platform) string {
	if strings.HasSuffix(string(platform), "/arm64") {
		return "aarch64"
	}
	return "x86_64"
}

// glibc is which C library wheels may ask for, as uv writes it behind the processor:
// that of Debian 12, the oldest below the public images of Python.
const glibc = "-manylinux_2_36"

// onMachines makes one lock of those of several processors, by their names. What is
// the same on all stands there once, the rest with the processor that it is for.
func onMachines(locks map[string]string) string {
	on := map[string][]string{}
	names := slices.Sorted(maps.Keys(locks))
	for _, name := range names {
		for _, pin := range pins(locks[name]) {
			on[pin] = append(on[pin], name)
		}
	}
	var text strings.Builder
	for _, pin := range slices.Sorted(maps.Keys(on)) {
		if len(on[pin]) == len(names) {
			text.WriteString(pin)
			continue
		}
		for _, name := range on[pin] {
			text.WriteString(onlyOn(pin, name))
		}
	}
	return text.String()
}

// pins are the packages of a lock, each with its hashes.
func pins(lock string) []string {
	var found []string
	for line := range strings.Lines(lock) {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, " ") && len(found) > 0:
			found[len(found)-1] += line
		default:
			found = append(found, line)
		}
	}
	return found
}

// onlyOn returns a package of a lock that is for one processor.
func onlyOn(pin, machine string) string {
	first, hashes, _ := strings.Cut(pin, "\n")
	first, goesOn := strings.CutSuffix(first, " \\")
	first += " ; platform_machine == '" + machine + "'"
	if goesOn {
		first += " \\"
	}
	return first + "\n" + hashes
}
