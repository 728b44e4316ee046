package localengine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// networkName is the name of the containers' network, different for every
// cache folder. An interface is called after it, with a 0 behind, which leaves
// 14 characters.
func networkName(dir string) string {
	digest := sha256.Sum256([]byte(dir))
	return "sbx" + hex.EncodeToString(digest[:4])
}

// freeAddress returns an address on the loopback that no process listens on: the
// preferred one where possible.
func freeAddress(preferred string) (string, error) {
	if _, port, err := net.SplitHostPort(preferred); err == nil {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return preferred, l.Close()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return net.JoinHostPort("localhost", strconv.Itoa(port)), l.Close()
}

// freeNetwork returns a network of 65536 addresses that overlaps with none of
// those taken. It starts looking at a place that depends on the folder, so
// that engines side by side do not meet.
func freeNetwork(dir string, taken []netip.Prefix) (string, error) {
	const first, count = 64, 128 // 10.64.0.0/16 to 10.191.0.0/16
	digest := sha256.Sum256([]byte(dir))
	offset := int(binary.BigEndian.Uint16(digest[4:]))
search:
	for i := range count {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(first + (offset+i)%count)}), 16)
		for _, t := range taken {
			if candidate.Overlaps(t) {
				continue search
			}
		}
		return candidate.String(), nil
	}
	return "", errors.New("find addresses for containers: every candidate in 10.0.0.0/8 is in use")
}

// takenAddresses returns the networks that the machine knows, by route or by
// interface, and its resolvers, which a container must reach as well. The
// named interface, left by an engine that was killed, does not count.
func takenAddresses(except string) ([]netip.Prefix, error) {
	var taken []netip.Prefix
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.Name == except {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it went away just now
		}
		for _, address := range addresses {
			if prefix, err := netip.ParsePrefix(address.String()); err == nil {
				taken = append(taken, prefix.Masked())
			}
		}
	}
	routes, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	resolvers, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list resolvers: %w", err)
	}
	taken = append(taken, routedNetworks(string(routes), except)...)
	return append(taken, resolverAddresses(string(resolvers))...), nil
}

// routedNetworks reads the kernel's routing table (proc_pid_net(5)), where
// addresses are hexadecimal with the lowest byte first. The default route is
// not a network.
func routedNetworks(table, except string) []netip.Prefix {
	var networks []netip.Prefix
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 8 || fields[0] == except {
			continue
		}
		destination, err := strconv.ParseUint(fields[1], 16, 32)
		mask, maskErr := strconv.ParseUint(fields[7], 16, 32)
		if err != nil || maskErr != nil || mask == 0 {
			continue
		}
		var address, netmask [4]byte
		binary.LittleEndian.PutUint32(address[:], uint32(destination))
		binary.LittleEndian.PutUint32(netmask[:], uint32(mask))
		ones, _ := net.IPMask(netmask[:]).Size()
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4(address), ones))
	}
	return networks
}

// resolverAddresses reads the name servers of resolv.conf(5).
func resolverAddresses(file string) []netip.Prefix {
	var servers []netip.Prefix
	for line := range strings.Lines(file) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if address, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	return servers
}
