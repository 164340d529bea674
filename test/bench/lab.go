package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/store"
)

// lab is the parts that a verification needs, without the product: what they take alone is the floor of what the
// product takes with them. NATS, the store and those who use them share this process, as they do in `sallyport up`.
type lab struct {
	nats           *embedded.NATS
	store          *embedded.Store
	asking         *bus.Bus
	answering      *bus.Bus
	db             *store.DB
	authenticators store.Collection[authenticator]
	signIns        *bus.KV[entry]
	sessions       *bus.KV[entry]
	serial         atomic.Int64
}

// authenticator is what the floor reads of an authenticator's document; the rest of it is stored all the same.
type authenticator struct {
	ID     string `bson:"_id"`
	Active struct {
		Secret []byte `bson:"secret"`
	} `bson:"active"`
}

// entry is a value of a bucket, of the size of a sign-in or session.
type entry struct {
	Text string `json:"text"`
}

var anEntry = entry{strings.Repeat("x", 600)}

// echo is a call of the size of a verification that does nothing.
var echo = contract.Call[contract.TOTPVerifyRequest, contract.Empty]{Subject: "sallyport.call.bench.echo", Server: contract.TOTP}

// openLab makes a lab with a copy of an installation's documents.
func openLab(ctx context.Context, dir, like string) (_ *lab, err error) {
	l := &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err := os.CopyFS(filepath.Join(dir, "store"), os.DirFS(filepath.Join(like, "store"))); err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	if l.nats, err = embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Log: log}); err != nil {
		return nil, err
	}
	if l.store, err = embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(dir, "store"), Addr: "127.0.0.1:0", Log: log}); err != nil {
		return nil, err
	}
	if l.asking, err = bus.Connect(ctx, bus.Options{URL: l.nats.URL(), Name: contract.AuthGateway, Log: log}); err != nil {
		return nil, err
	}
	if l.answering, err = bus.Connect(ctx, bus.Options{URL: l.nats.URL(), Name: contract.TOTP, Log: log}); err != nil {
		return nil, err
	}
	err = bus.Handle(l.answering, echo, func(context.Context, contract.TOTPVerifyRequest) (contract.Empty, error) {
		return contract.Empty{}, nil
	})
	if err != nil {
		return nil, err
	}
	if l.signIns, err = bus.OpenKV[entry](ctx, l.asking, contract.SignIns); err != nil {
		return nil, err
	}
	if l.sessions, err = bus.OpenKV[entry](ctx, l.asking, contract.Sessions); err != nil {
		return nil, err
	}
	l.db, err = store.Connect(ctx, store.Options{URI: l.store.URI(), Database: "sallyport_totp_svc", Name: "bench", Log: log})
	if err != nil {
		return nil, err
	}
	l.authenticators = store.Of[authenticator](l.db, "authenticators")
	return l, nil
}

func (l *lab) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	for _, b := range []*bus.Bus{l.asking, l.answering} {
		if b != nil {
			errs = append(errs, b.Close(ctx))
		}
	}
	if l.db != nil {
		errs = append(errs, l.db.Close(ctx))
	}
	if l.store != nil {
		errs = append(errs, l.store.Close(ctx))
	}
	if l.nats != nil {
		errs = append(errs, l.nats.Close(ctx))
	}
	return errors.Join(errs...)
}

// floorTime is how long each floor is measured.
const floorTime = 1500 * time.Millisecond

// call is one request and its reply, to a handler that does nothing.
func (l *lab) call(ctx context.Context) error {
	_, err := bus.Request(ctx, l.asking, echo, contract.TOTPVerifyRequest{
		Account: user{}.account(), Enrolment: bus.NewID(), Code: contract.Sealed(strings.Repeat("x", 60)),
	})
	return err
}

// anyone is the _id of somebody's document, another one each time.
func (l *lab) anyone() string {
	return portal + "/" + user{n: int(l.serial.Add(7919)) % middle.apps}.id()
}

// pair is an element of a document under the driver's own type, which only pkg/store may name.
type pair = struct {
	Key   string
	Value any
}

func put[D ~[]E, E ~struct {
	Key   string
	Value any
}](d *D, operator string, fields map[string]any) {
	*d = append(*d, E(pair{operator, fields}))
}

// count is a by-id update that returns the document, as the one that counts a guess.
func (l *lab) count(ctx context.Context, id string) error {
	var ch store.Change
	put(&ch.Update, "$inc", map[string]any{"guess.failures": 1})
	put(&ch.Update, "$set", map[string]any{"guess.last_at": time.Now()})
	_, err := l.authenticators.Apply(ctx, id, ch)
	return err
}

// accept is a by-id update that returns nothing, as the one that spends a step.
func (l *lab) accept(ctx context.Context, id string) error {
	var ch store.Change
	put(&ch.Update, "$set", map[string]any{"guess.failures": 0, "last_step": time.Now().Unix() / 30})
	ok, err := l.authenticators.Update(ctx, id, ch)
	if err == nil && !ok {
		err = errors.New("no such person in the lab")
	}
	return err
}

// floors are the things to measure, each as a maker of one client's operation.
var floors = []struct {
	name, says string
	client     func(context.Context, *lab) (func() error, error)
}{
	{"NATSBus", "a call through pkg/bus to a handler that does nothing", func(ctx context.Context, l *lab) (func() error, error) {
		return func() error { return l.call(ctx) }, nil
	}},
	{"KVCreate", "a new key in a bucket, synced to disk", func(ctx context.Context, l *lab) (func() error, error) {
		return func() error { _, err := l.sessions.Create(ctx, bus.NewID(), anEntry); return err }, nil
	}},
	{"KVCompareAndSet", "a key changed by compare-and-set, synced to disk", func(ctx context.Context, l *lab) (func() error, error) {
		return l.advance(ctx)
	}},
	{"OneUpdate", "one by-id update of the document store", func(ctx context.Context, l *lab) (func() error, error) {
		return func() error { return l.count(ctx, l.anyone()) }, nil
	}},
	{"TwoUpdates", "two by-id updates of one document", func(ctx context.Context, l *lab) (func() error, error) {
		return func() error {
			id := l.anyone()
			if err := l.count(ctx, id); err != nil {
				return err
			}
			return l.accept(ctx, id)
		}, nil
	}},
	{"TwoGuardedUpdates", "the same, each under the condition of a verification", func(ctx context.Context, l *lab) (func() error, error) {
		return func() error {
			id := l.anyone()
			var count, accept store.Change
			count.Guard = store.GuessGuard("guess", time.Now())
			put(&count.Update, "$set", map[string]any{"guess.failures": 1, "guess.last_at": time.Now()})
			if _, err := l.authenticators.Apply(ctx, id, count); err != nil {
				return err
			}
			put(&accept.Guard, "last_step", map[string]any{"$lt": time.Now().Unix()})
			put(&accept.Update, "$set", map[string]any{"guess.failures": 0, "last_step": time.Now().Unix() / 30})
			_, err := l.authenticators.Update(ctx, id, accept)
			return err
		}, nil
	}},
}

// advance returns a client that changes a key of its own, again and again.
func (l *lab) advance(ctx context.Context) (func() error, error) {
	key := bus.NewID()
	revision, err := l.signIns.Create(ctx, key, anEntry)
	return func() error {
		var err error
		revision, err = l.signIns.Update(ctx, key, anEntry, revision)
		return err
	}, err
}

// verification is what a verification cannot do without, one after the other: a call, the two updates of the
// authenticator's document, the sign-in's compare-and-set and the new session.
func verification(ctx context.Context, l *lab) (func() error, error) {
	advance, err := l.advance(ctx)
	return func() error {
		if err := l.call(ctx); err != nil {
			return err
		}
		id := l.anyone()
		if err := l.count(ctx, id); err != nil {
			return err
		}
		if err := l.accept(ctx, id); err != nil {
			return err
		}
		if err := advance(); err != nil {
			return err
		}
		_, err := l.sessions.Create(ctx, bus.NewID(), anEntry)
		return err
	}, err
}

// measure drives a floor.
func (l *lab) measure(ctx context.Context, clients int, maker func(context.Context, *lab) (func() error, error)) (result, error) {
	do := make([]func() error, clients)
	for c := range do {
		var err error
		if do[c], err = maker(ctx, l); err != nil {
			return result{}, err
		}
	}
	return metered(os.Getpid(), func() (result, error) {
		return drive(clients, floorTime, func(c int) error { return do[c]() })
	})
}
