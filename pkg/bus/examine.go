package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// Examination is what was found of a bus by looking at it.
type Examination struct {
	// RoundTrip is how long the server takes to answer.
	RoundTrip time.Duration
	// JetStream says why JetStream cannot be used; nil when it can.
	JetStream error
	// Kept are the streams of [contract.Streams] and the buckets of [contract.Buckets].
	Kept []Kept
	// DeadLetters is how many messages nobody could use.
	DeadLetters uint64
	// Clock is the server's, and Asked ours at the middle of the question; zero when there was nothing to ask about.
	Clock, Asked time.Time
}

// Kept is a stream or bucket as the server has it.
type Kept struct {
	Name string
	// There is false where it does not exist, or could not be asked about (then Err says why).
	There    bool
	Replicas int
	Messages uint64
	// Late are the servers whose copy is not what it should be: they are down, or have not caught up yet.
	Late []string
	// Err wraps [ErrNotAllowed], or [ErrNoLeader], where it is one of these.
	Err error
}

// Why a stream or bucket could not be asked about.
var (
	// ErrNotAllowed: this user may not ask.
	ErrNotAllowed = errors.New("this user may not ask about it")
	// ErrNoLeader: nobody answers for it, because the servers of its copies have no majority, or are electing.
	ErrNoLeader = errors.New("no NATS server answers for it")
)

// ErrNotLetIn says that the server does not take this user and password.
var ErrNotLetIn = errors.New("it does not let us in")

// Examine looks at the bus and changes nothing: unlike [Connect] it makes no streams, and does not wait for a server
// that is not there. Its error names the URL.
func Examine(ctx context.Context, o Options) (Examination, error) {
	nc, err := nats.Connect(o.URL, append(o.identity(), nats.NoReconnect(), nats.Timeout(CallTimeout), nats.ErrorHandler(quiet))...)
	if errors.Is(err, nats.ErrAuthorization) {
		err = fmt.Errorf("%w (%w)", ErrNotLetIn, err)
	}
	if err != nil {
		return Examination{}, notReached(o.URL, err)
	}
	defer nc.Close()
	var x Examination
	if x.RoundTrip, err = nc.RTT(); err != nil {
		return Examination{}, fmt.Errorf("NATS at %s: %w", shown(o.URL), err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return Examination{}, fmt.Errorf("JetStream: %w", err)
	}
	bound, cancel := context.WithTimeout(ctx, 2*CallTimeout) // each question has a part of it
	defer cancel()
	asking, done := context.WithTimeout(bound, CallTimeout/2)
	defer done()
	if _, x.JetStream = js.AccountInfo(asking); x.JetStream != nil {
		if noLeader(x.JetStream) {
			x.JetStream = ErrNoLeader
		}
		return x, nil
	}
	look := func(name, stream string) {
		before := time.Now()
		k, clock := keptBy(bound, js, stream)
		switch {
		case k.Err == nil:
		case errors.Is(nc.LastError(), nats.ErrPermissionViolation):
			k.Err = ErrNotAllowed
		case noLeader(k.Err):
			k.Err = ErrNoLeader
		}
		if k.There {
			x.Clock, x.Asked = clock, before.Add(time.Since(before)/2)
			if stream == string(contract.StreamDead) {
				x.DeadLetters = k.Messages
			}
		}
		k.Name = name
		x.Kept = append(x.Kept, k)
	}
	for _, s := range contract.Streams() {
		look(string(s.Name), string(s.Name))
	}
	for _, b := range contract.Buckets() {
		look(b.Name, permit.BucketStream(b.Name))
	}
	return x, nil
}

// noLeader tells whether an error is that of a server which waits for a majority: silence, or a 503 of its own.
func noLeader(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &api) && api.Code == 503 && api.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabled && api.ErrorCode != jetstream.JSErrCodeJetStreamNotEnabledForAccount
}

// quiet keeps the library from printing what is said as a finding.
func quiet(*nats.Conn, *nats.Subscription, error) {}

// keptBy asks about one stream, and what time it is there.
func keptBy(ctx context.Context, js jetstream.JetStream, name string) (Kept, time.Time) {
	k := Kept{Name: name}
	ctx, cancel := context.WithTimeout(ctx, CallTimeout/4)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			k.Err = err
		}
		return k, time.Time{}
	}
	info := s.CachedInfo()
	k.There, k.Replicas, k.Messages = true, max(1, info.Config.Replicas), info.State.Msgs
	if info.Cluster != nil {
		for _, r := range info.Cluster.Replicas {
			if r.Offline || !r.Current {
				k.Late = append(k.Late, r.Name)
			}
		}
	}
	return k, info.TimeStamp
}
