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
	Err      error
	// Behind are its copies that are not up to date, by the names of their servers: away, or still catching up.
	Behind []string
}

// ErrNoLeader says that a stream cannot be asked about because no copy of it leads: too few of them are there.
var ErrNoLeader = errors.New("none of its copies leads")

// ErrNotLetIn says that the server does not take this user and password.
var ErrNotLetIn = errors.New("it does not let us in")

// Examine looks at the bus and changes nothing: unlike [Connect] it makes no streams, and does not wait for a server
// that is not there. Its error names the URL.
func Examine(ctx context.Context, o Options) (Examination, error) {
	nc, err := nats.Connect(o.URL, append(o.identity(), nats.NoReconnect(), nats.Timeout(CallTimeout))...)
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
	bound, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if _, x.JetStream = js.AccountInfo(bound); x.JetStream != nil {
		return x, nil
	}
	look := func(name, stream string) {
		before := time.Now()
		k, clock := keptBy(ctx, js, stream)
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

// keptBy asks about one stream, and what time it is there.
func keptBy(ctx context.Context, js jetstream.JetStream, name string) (Kept, time.Time) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	k := Kept{Name: name}
	s, err := js.Stream(ctx, name)
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return k, time.Time{}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &api) && api.Code >= 500:
		// JetStream itself has just answered.
		k.Err = fmt.Errorf("%w (%w)", ErrNoLeader, err)
		return k, time.Time{}
	case err != nil:
		k.Err = err
		return k, time.Time{}
	}
	info := s.CachedInfo()
	k.There, k.Replicas, k.Messages = true, max(1, info.Config.Replicas), info.State.Msgs
	if info.Cluster != nil {
		for _, c := range info.Cluster.Replicas {
			if c.Offline || !c.Current {
				k.Behind = append(k.Behind, c.Name)
			}
		}
	}
	return k, info.TimeStamp
}
