package sut

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// ports are the addresses of one installation.
type ports struct{ listen, ops, sandbox, nats, store string }

func freePorts(tb testing.TB) ports {
	tb.Helper()
	a := FreeAddrs(tb, 5)
	return ports{a[0], a[1], a[2], a[3], a[4]}
}

func (p ports) flags(data string) []string {
	return []string{
		"--data=" + data, "--listen=" + p.listen, "--ops=" + p.ops, "--sandbox=" + p.sandbox, "--nats=" + p.nats, "--store=" + p.store,
	}
}

// FreeAddrs returns loopback addresses that nobody listens on. They lie below the range from which systems take the
// ports of outgoing connections, so that none of those gets there first.
func FreeAddrs(tb testing.TB, n int) []string {
	tb.Helper()
	const lowest, highest = 10_000, 32_000
	var out []string
	for tries := 0; len(out) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest)))
		if err != nil {
			if tries > 1000 {
				tb.Fatalf("no free port: %v", err)
			}
			continue
		}
		defer func() { _ = l.Close() }() // held until all are found, so that they differ
		out = append(out, l.Addr().String())
	}
	return out
}
