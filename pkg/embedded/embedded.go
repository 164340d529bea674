// Package embedded answers: what runs when nothing is installed?
//
// It starts the three parts that a production installation gets from elsewhere, inside this process:
//
//   - [StartNATS]: a NATS server with JetStream on disk,
//   - [StartStore]: a document store that speaks MongoDB's wire protocol and keeps its data in SQLite files,
//   - [StartSNS]: an endpoint that speaks Amazon SNS's protocol, keeps the text messages and shows them.
//
// NATS and the store are durable: what they acknowledged is on disk and survives kill -9. The store and SNS ask nobody
// who they are, and none speaks TLS: all three listen on loopback addresses only; any other address is refused. Data
// directories are made with mode 0700 and belong to one process at a time.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// loopback checks that addr is host:port on this machine alone ("localhost" or a loopback IP) and returns both parts
// as [net.Listen] wants them; an IP is returned for "localhost", so that nothing depends on the resolver.
func loopback(addr string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(addr)
	if err != nil {
		return "", "", fmt.Errorf("address %q: want host:port: %w", addr, err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", "", fmt.Errorf("address %q: the embedded parts listen on loopback only (127.0.0.1, ::1 or localhost)", addr)
	}
	return host, port, nil
}

// listen opens a TCP listener on a loopback address.
func listen(addr string) (net.Listener, error) {
	host, port, err := loopback(addr)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("address %s is already in use", addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

// claim makes dir, if need be, and takes it for this process until the returned file is closed. The kernel gives it
// back when the process ends, however it ends.
func claim(dir string) (*os.File, error) {
	if dir == "" {
		return nil, errors.New("no data directory given")
	}
	if strings.ContainsAny(dir, "?#%") {
		return nil, fmt.Errorf("data directory %q: its name must not contain ?, # or %%", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator's own data directory
	if err != nil {
		return nil, fmt.Errorf("claim data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errors.New("it is already used by another process")
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("claim data directory %s: %w", dir, err)
	}
	return f, nil
}

// orDiscard makes a nil logger a silent one.
func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
