package localengine

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestRoutedNetworks(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100000A	0003	0	0	0	00000000	0	0	0
eth0	0000000A	00000000	0001	0	0	0	0000FFFF	0	0	0
sbx0	0000460A	00000000	0001	0	0	0	0000FFFF	0	0	0
docker0	000011AC	00000000	0001	0	0	0	00F0FFFF	0	0	0
`
	got := routedNetworks(table, "sbx0")
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("172.17.0.0/20")}
	if !slices.Equal(got, want) {
		t.Errorf("networks are %v, want %v", got, want)
	}
}

func TestFreeNetwork(t *testing.T) {
	first, err := freeNetwork("/cache", nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := freeNetwork("/cache", nil); again != first {
		t.Errorf("the same folder gets %s and then %s", first, again)
	}
	resolvers := resolverAddresses("search example.org\nnameserver " + netip.MustParsePrefix(first).Addr().Next().String() + "\nnameserver fe80::1%eth0\n")
	second, err := freeNetwork("/cache", resolvers)
	if err != nil {
		t.Fatal(err)
	}
	if netip.MustParsePrefix(second).Overlaps(netip.MustParsePrefix(first)) {
		t.Errorf("network %s holds the resolver %s", second, resolvers[0])
	}
	all := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	if got, err := freeNetwork("/cache", all); err == nil {
		t.Errorf("with all addresses taken, the network is %s", got)
	}
}

func TestFreeAddress(t *testing.T) {
	first, err := freeAddress("")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := freeAddress(first); again != first || err != nil {
		t.Errorf("free address %s is not kept: %s, %v", first, again, err)
	}
	_, port, err := net.SplitHostPort(first)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if other, err := freeAddress(first); other == first || err != nil {
		t.Errorf("address %s is in use, and got is %s, %v", first, other, err)
	}
}

func TestNetworkName(t *testing.T) {
	name := networkName("/home/user/.cache/erpnext-pipeline/engine")
	// IFNAMSIZ is 16, with the end of the string.
	if bridge := name + "0"; len(bridge) > 15 {
		t.Errorf("interface name %s is longer than 15 characters", bridge)
	}
	if name == networkName("/home/other/.cache/erpnext-pipeline/engine") {
		t.Errorf("two folders have the network %s", name)
	}
}
