package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"sallyport/pkg/bus/permit"
)

// readyWithin bounds the start of an embedded part; recovery of a large JetStream directory is what takes time.
const readyWithin = 30 * time.Second

// NATSOptions say where the embedded NATS server keeps its streams and where it listens.
type NATSOptions struct {
	Dir  string       // JetStream's files; made if missing, one process at a time
	Addr string       // loopback host:port; port 0 picks a free one
	Log  *slog.Logger // nil discards
	// Users may connect, each with what package permit lets it do, and nobody else; where there are none, anybody may
	// do anything.
	Users permit.Passwords
}

// NATS is a running server. Close it.
type NATS struct {
	srv  *server.Server
	lock *os.File
}

// StartNATS starts a NATS server in this process: JetStream in o.Dir with every acknowledged write synced to disk, at
// most 1 MiB per message, no signal handling. It takes clients when it returns, a few milliseconds
// later (longer when there are large streams to recover, at most 30 s). An address in use, an address that is not
// loopback and a directory used by another process are errors that name it.
func StartNATS(o NATSOptions) (*NATS, error) {
	n, err := startNATS(o)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS: %w", err)
	}
	return n, nil
}

func startNATS(o NATSOptions) (*NATS, error) {
	host, portText, err := loopback(o.Addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("address %q: the port must be a number", o.Addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	} else {
		// The server reports a port in use as a log line; asking first gives an error that can be returned.
		l, err := listen(o.Addr)
		if err != nil {
			return nil, err
		}
		_ = l.Close()
	}
	lock, err := claim(o.Dir)
	if err != nil {
		return nil, err
	}

	users, err := natsUsers(o.Users)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	srv, err := server.NewServer(&server.Options{
		Users:      users,
		ServerName: "sallyport",
		Host:       host,
		Port:       port,
		JetStream:  true,
		StoreDir:   o.Dir,
		SyncAlways: true,
		NoSigs:     true,
	})
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	fatal := make(chan string, 1)
	srv.SetLoggerV2(&natsLog{log: orDiscard(o.Log), fatal: fatal}, false, false, false)
	n := &NATS{srv: srv, lock: lock}

	ready := make(chan bool, 1)
	go func() {
		srv.Start()
		ready <- srv.ReadyForConnections(readyWithin)
	}()
	select {
	case reason := <-fatal:
		err = errors.New(reason)
	case ok := <-ready:
		switch {
		case !ok:
			err = fmt.Errorf("not ready on %s within %s", o.Addr, readyWithin)
		case !srv.JetStreamEnabled():
			err = fmt.Errorf("JetStream did not start in %s", o.Dir)
		}
	}
	if err != nil {
		_ = n.Close(context.Background())
		return nil, err
	}
	return n, nil
}

// natsUsers puts passwords and permissions into the server's terms.
func natsUsers(passwords permit.Passwords) ([]*server.User, error) {
	var out []*server.User
	for _, u := range slices.Sorted(maps.Keys(passwords)) {
		// Random passwords need no slow hash; the server wants one.
		hash, err := bcrypt.GenerateFromPassword([]byte(passwords[u].Reveal()), bcrypt.MinCost)
		if err != nil {
			return nil, fmt.Errorf("password of %s: %w", u, err)
		}
		p := permit.Of(u)
		permissions := &server.Permissions{
			Publish: &server.SubjectPermission{Allow: p.Publish}, Subscribe: &server.SubjectPermission{Allow: p.Subscribe},
		}
		if p.Answers {
			permissions.Response = &server.ResponsePermission{MaxMsgs: 1, Expires: permit.AnswerWithin}
		}
		out = append(out, &server.User{Username: string(u), Password: string(hash), Permissions: permissions})
	}
	return out, nil
}

// URL returns what a client connects to, as nats://127.0.0.1:4222.
func (n *NATS) URL() string {
	return "nats://" + n.srv.Addr().(*net.TCPAddr).String()
}

// Close stops the server and gives its directory back: clients are disconnected, streams are flushed and closed. It
// returns ctx's error when that takes longer than ctx allows; the rest then happens in the background. Nothing
// acknowledged is lost either way. Closing twice is harmless.
func (n *NATS) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.srv.Shutdown()
		n.srv.WaitForShutdown()
		_ = n.lock.Close()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop embedded NATS: %w", ctx.Err())
	}
}

// natsLog puts the server's lines into slog: its notices are of interest to a debugger only.
type natsLog struct {
	log   *slog.Logger
	fatal chan<- string
}

func (l *natsLog) put(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats server", slog.String("detail", fmt.Sprintf(format, v...)))
	}
}

func (l *natsLog) Noticef(format string, v ...any) { l.put(slog.LevelDebug, format, v) }
func (l *natsLog) Warnf(format string, v ...any)   { l.put(slog.LevelWarn, format, v) }
func (l *natsLog) Errorf(format string, v ...any)  { l.put(slog.LevelError, format, v) }
func (l *natsLog) Debugf(format string, v ...any)  { l.put(slog.LevelDebug, format, v) }
func (l *natsLog) Tracef(format string, v ...any)  { l.put(slog.LevelDebug, format, v) }

// Fatalf reports a failure to start. The server expects the process to end here; StartNATS returns an error instead.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.put(slog.LevelError, format, v)
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}
