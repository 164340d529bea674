package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// StoreOptions say where the embedded document store keeps its files and where it listens.
type StoreOptions struct {
	Dir  string       // one SQLite file per database; made if missing, one process at a time
	Addr string       // loopback host:port; port 0 picks a free one
	Log  *slog.Logger // nil discards
}

// Store is a running document store. Close it.
type Store struct {
	front *front
	stop  context.CancelFunc // ends FerretDB
	done  chan struct{}      // closed when FerretDB has ended
	tmp   string             // directory of the socket, "" where that is in the data directory
	lock  *os.File
}

// maxSocket is the longest path of a Unix socket that all systems take.
const maxSocket = 100

// making guards a variable of FerretDB's that its constructor writes.
var making sync.Mutex

// StartStore starts a document store that speaks MongoDB's wire protocol: FerretDB on SQLite, reached through a front
// that makes its updates atomic and its look-ups by _id quick. It takes clients when it returns, some ten milliseconds
// later. An address in use, an address that is not loopback and a directory used by another process are errors that
// name it.
//
// A write is on disk (SQLite's WAL with synchronous=FULL) before it is acknowledged, whatever write concern is asked
// for. Writes to a database are carried out one at a time. Documents are found quickly by an _id that is a string or
// an ObjectID, with or without further conditions; any other filter reads the whole collection (40 µs per document).
// There are no transactions (refused, as by a single MongoDB server),
// no TTL, no change streams and no update pipelines.
func StartStore(o StoreOptions) (*Store, error) {
	s, err := startStore(o)
	if err != nil {
		return nil, fmt.Errorf("start embedded document store: %w", err)
	}
	return s, nil
}

func startStore(o StoreOptions) (_ *Store, err error) {
	log := orDiscard(o.Log)
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()

	l, err := listen(o.Addr)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { _ = l.Close() })
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if o.Dir == "" {
		dir = ""
	}
	lock, err := claim(dir)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() { _ = lock.Close() })
	if err := mendFiles(dir); err != nil {
		return nil, err
	}

	// FerretDB listens on a Unix socket that only this user may reach: its clients must not get past the front.
	socket, tmp := filepath.Join(dir, ".socket"), ""
	if len(socket) > maxSocket {
		if tmp, err = os.MkdirTemp("", "sallyport-"); err != nil {
			return nil, err
		}
		undo = append(undo, func() { _ = os.RemoveAll(tmp) })
		socket = filepath.Join(tmp, "socket")
	}
	_ = os.Remove(socket) // left there by a process that was killed; the claim says that nobody uses it
	making.Lock()
	ferret, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{Unix: socket},
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/?" + pragmas,
		Logger:    slog.New(ferretLog{log}),
	})
	making.Unlock()
	if err != nil {
		return nil, err
	}
	_ = os.Chmod(socket, 0o600) // on systems where it matters
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		front: &front{dir: dir, backend: socket, log: log, l: l, clients: map[net.Conn]bool{}},
		stop:  stop, done: make(chan struct{}), tmp: tmp, lock: lock,
	}
	go func() {
		defer close(s.done)
		_ = ferret.Run(ctx) // always nil
	}()
	s.front.wg.Add(1)
	go s.front.serve()
	return s, nil
}

// URI returns what a MongoDB driver connects to, with the options that it needs for this store.
func (s *Store) URI() string {
	return "mongodb://" + s.front.l.Addr().String() + "/?directConnection=true&retryWrites=false"
}

// Close lets the commands in progress finish and be answered, disconnects the clients, closes the files and gives the
// directory back. It returns ctx's error when that takes longer than ctx allows; the rest is then cut off. Nothing
// acknowledged is lost either way. Closing twice is harmless.
func (s *Store) Close(ctx context.Context) error {
	err := s.front.close(ctx)
	s.front.closeReaders()
	s.stop()
	released := make(chan struct{})
	go func() {
		defer close(released)
		<-s.done
		if s.tmp != "" {
			_ = os.RemoveAll(s.tmp)
		}
		_ = s.lock.Close()
	}()
	select {
	case <-released:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("stop embedded document store: %w", err)
	}
	return nil
}

// ferretLog lets FerretDB's errors through and nothing below: its warnings carry whole documents.
type ferretLog struct{ to *slog.Logger }

func (h ferretLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (h ferretLog) WithAttrs([]slog.Attr) slog.Handler               { return h }
func (h ferretLog) WithGroup(string) slog.Handler                    { return h }

// Handle logs that there was an error and where in FerretDB, without its text, which may quote a document.
func (h ferretLog) Handle(ctx context.Context, r slog.Record) error {
	var where string
	if src := r.Source(); src != nil {
		where = fmt.Sprintf("%s:%d", filepath.Base(src.File), src.Line)
	}
	h.to.LogAttrs(ctx, slog.LevelError, "document store failed on a command", slog.String("where", where))
	return nil
}
