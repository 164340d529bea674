package sut

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
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

// FreeAddrs returns loopback addresses that nobody listens on, and that no other test gets while this test process
// lives: a product that is stopped for a moment finds its ports free again. They lie below the range from which
// systems take the ports of outgoing connections, and above 10080, the last one that Chromium refuses (net::ERR_UNSAFE_PORT).
func FreeAddrs(tb testing.TB, n int) []string {
	tb.Helper()
	const lowest, highest = 10_081, 32_000
	var out []string
	for tries := 0; len(out) < n; tries++ {
		if tries > 1000 {
			tb.Fatal("no free port")
		}
		port := lowest + rand.IntN(highest-lowest)
		ours, err := claim(port)
		if err != nil {
			tb.Fatal(err)
		}
		if !ours {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		out = append(out, l.Addr().String())
		_ = l.Close() // it was free, which is all there is to know
	}
	return out
}

// claims are the ports of this test process: each is a locked byte of a file that all test processes know.
var claims struct {
	sync.Mutex
	file *os.File
	mine map[int]bool
}

// claim takes a port for this test process, for as long as that lives; false if it is taken.
func claim(port int) (bool, error) {
	claims.Lock()
	defer claims.Unlock()
	if claims.file == nil {
		f, err := os.OpenFile(filepath.Join(os.TempDir(), "sallyport-test-ports"), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return false, err
		}
		claims.file, claims.mine = f, make(map[int]bool)
	}
	if claims.mine[port] {
		return false, nil
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: int64(port), Len: 1}
	if err := syscall.FcntlFlock(claims.file.Fd(), syscall.F_SETLK, &lock); err != nil {
		return false, nil //nolint:nilerr // another process has it
	}
	claims.mine[port] = true
	return true, nil
}
