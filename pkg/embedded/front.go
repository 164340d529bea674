package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/FerretDB/wire/wirebson"
)

// front stands between the clients and the document store behind it and mends three things:
//
//   - The store's updates are find-then-write: two at a time lose one. The front lets one writing command through at
//     a time for each database, over all connections, so each is as atomic as it is on MongoDB. Databases are separate
//     files and wait for each other in nothing, so a slow write of one service does not hold up another. Reads pass
//     freely; SQLite gives each a consistent view.
//   - The store finds a document by its index only if _id is the whole filter, and some of its operators fall short of
//     MongoDB's. See narrow.go and limits.go.
//   - The store does not index what it looks for. See index.go.
//   - The store reads whole collections for lists and counts. See list.go.
//
// A command takes the lock when its frame has been read to the end and gives it back before the answer is written, so
// that a slow or vanished client holds up nobody. Each client connection has a connection of its own to the store, and
// a command once sent is waited for even if its client has gone. Commands that MongoDB answers late or repeatedly
// (awaitable hello, exhaust cursors) are answered at once and once: the store announces no topology version, so
// drivers poll.
type front struct {
	dir     string // of the SQLite files
	backend string // Unix socket of the store
	log     *slog.Logger
	l       net.Listener
	plain   bool // leave lists to the store

	databases sync.Map     // name → *database
	busy      atomic.Int64 // commands read and not yet answered

	mu       sync.Mutex
	clients  map[net.Conn]bool
	draining bool
	wg       sync.WaitGroup
}

// database is what the front knows of one database. Its lock is held by the one writing command.
type database struct {
	sync.Mutex
	indexed map[string]bool // collections known to have their indexes
	reader  reader
}

// reads are the commands that change nothing and need not wait for the lock.
var reads = map[string]bool{
	"hello": true, "isMaster": true, "ismaster": true, "ping": true, "buildInfo": true, "buildinfo": true,
	"aggregate": true, "count": true, "distinct": true, "find": true, "getMore": true, "killCursors": true,
	"listCollections": true, "listDatabases": true, "listIndexes": true, "explain": true,
	"collStats": true, "dbStats": true, "connectionStatus": true, "endSessions": true,
}

// creates are the commands after which a collection may be there for the first time, forgets those after which one
// may have gone or have got another name.
var (
	creates = map[string]bool{"create": true, "createIndexes": true, "insert": true, "update": true, "findAndModify": true, "findandmodify": true}
	forgets = map[string]bool{"drop": true, "dropDatabase": true, "renameCollection": true, "dropIndexes": true}
)

// serve accepts clients until the listener is closed.
func (f *front) serve() {
	defer f.wg.Done()
	for {
		client, err := f.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			f.log.Warn("document store cannot accept a connection", slog.Any("error", err))
			time.Sleep(50 * time.Millisecond) // out of file descriptors, most likely: give others time to close theirs
			continue
		}
		f.mu.Lock()
		if f.draining {
			f.mu.Unlock()
			_ = client.Close()
			return
		}
		f.clients[client] = true
		f.wg.Add(1)
		f.mu.Unlock()
		go func() {
			defer f.wg.Done()
			err := f.serveClient(client)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
				f.log.Debug("document store connection ended", slog.Any("error", err))
			}
			_ = client.Close()
			f.mu.Lock()
			delete(f.clients, client)
			f.mu.Unlock()
		}()
	}
}

// close stops accepting, lets every command in progress finish and its answer go out, and disconnects. When ctx ends
// first the rest is cut off; the store finishes or drops such a command as a whole.
func (f *front) close(ctx context.Context) error {
	_ = f.l.Close()
	f.mu.Lock()
	f.draining = true
	for c := range f.clients {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the wait for a next command, not the one in progress
	}
	f.mu.Unlock()
	done := make(chan struct{})
	go func() { f.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		for c := range f.clients {
			_ = c.Close()
		}
		f.mu.Unlock()
		return ctx.Err()
	}
}

func (f *front) serveClient(client net.Conn) error {
	conn, err := net.Dial("unix", f.backend)
	if err != nil {
		return fmt.Errorf("connect to the store: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing to save
	b := &backend{conn: conn, r: bufio.NewReader(conn)}
	r := bufio.NewReader(client)
	for {
		req, err := readFrame(r)
		if err != nil {
			return err
		}
		f.busy.Add(1)
		answer, err := f.exchange(b, req)
		if err == nil && answer != nil {
			_, err = client.Write(answer)
		}
		f.busy.Add(-1)
		if err != nil {
			return err
		}
	}
}

// exchange carries one request out and returns the answer to write, nil where the client wants none. After an error
// the connection is of no further use.
func (f *front) exchange(b *backend, req []byte) ([]byte, error) {
	switch opCode(req) {
	case opQuery:
		return b.roundTrip(req)
	case opMsg:
	default:
		return nil, fmt.Errorf("%w: operation %d", errFrame, opCode(req))
	}
	cmd, err := parseCommand(req)
	if err != nil {
		return nil, err
	}
	answer, err := f.run(b, req, cmd)
	if err != nil || cmd.moreToCome {
		return nil, err
	}
	return answer, nil
}

func (f *front) run(b *backend, req []byte, cmd command) ([]byte, error) {
	read := time.Now()
	if no := refused(cmd); no != nil {
		return newFrame(0, requestID(req), no)
	}
	name := cmd.name()
	t, rewrite := rewritable(cmd)
	if reads[name] && !rewrite {
		if answer, err := f.list(cmd, req); err != nil || answer != nil {
			return answer, err
		}
		return b.roundTrip(req)
	}

	dbName := cmd.db()
	if name == "renameCollection" { // sent to "admin", names database.collection, and stays within that database
		dbName, _, _ = strings.Cut(cmd.collection(), ".")
	}
	db := f.database(dbName)
	db.Lock()
	defer db.Unlock()
	if limit := cmd.maxTime(); limit > 0 && time.Since(read) > limit {
		// Whoever sent it has given up. Under overload a queue of such commands would keep everybody else waiting
		// until they give up too.
		return newFrame(0, requestID(req), failure(maxTimeExpired, "MaxTimeMSExpired", "the command waited longer than its time limit"))
	}
	if rewrite {
		var answer []byte
		var err error
		if req, answer, err = t.apply(b, req); err != nil || answer != nil {
			return answer, err
		}
	}
	if name == "dropDatabase" {
		db.reader.using.Lock()
		defer db.reader.using.Unlock()
		db.reader.close()
	}
	answer, err := b.roundTrip(req)
	if err != nil {
		return nil, err
	}
	switch coll := cmd.collection(); {
	case forgets[name]:
		clear(db.indexed)
	case creates[name] && !db.indexed[coll], name == "createIndexes":
		done, err := indexCollection(f.dir, dbName, coll)
		if err != nil {
			// The data is right, only slow to find; the next write to the collection tries again.
			f.log.Warn("cannot index a collection", slog.String("database", dbName), slog.String("collection", coll), slog.Any("error", err))
		}
		if done {
			db.indexed[coll] = true
		}
	}
	return correct(cmd, req, answer)
}

// backend is one connection to the store. One request at a time.
type backend struct {
	conn net.Conn
	r    *bufio.Reader
	asks int32 // the ids of the front's own requests count down from zero
}

// roundTrip sends a frame and waits for the answer to it.
func (b *backend) roundTrip(req []byte) ([]byte, error) {
	if _, err := b.conn.Write(req); err != nil {
		return nil, fmt.Errorf("ask the store: %w", err)
	}
	answer, err := readFrame(b.r)
	if err != nil {
		return nil, fmt.Errorf("answer of the store: %w", err)
	}
	return answer, nil
}

// ask runs a command of the front's own and returns the document answered, whether it says ok or not.
func (b *backend) ask(doc *wirebson.Document) (*wirebson.Document, error) {
	b.asks--
	req, err := newFrame(b.asks, 0, doc)
	if err != nil {
		return nil, err
	}
	answer, err := b.roundTrip(req)
	if err != nil {
		return nil, err
	}
	c, err := parseCommand(answer)
	return c.doc, err
}
