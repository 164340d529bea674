package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/contract"
)

// copiesEvery is how often the server is asked where the copies are, in real time.
const copiesEvery = 5 * time.Second

// copies is sallyport_bus_copy_current: which servers have a good copy of what this service uses. One server of three may
// be away without anybody noticing; then the next one must not go.
type copies struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	// known says of each stream or bucket which server's copy is good. What cannot be known is not in it.
	known map[string]map[string]bool
}

func newCopies(r prometheus.Registerer) *copies {
	c := &copies{known: make(map[string]map[string]bool), desc: prometheus.NewDesc("sallyport_bus_copy_current",
		"1 while a server's copy of a stream or bucket is there and up to date; 0 while it is not, or while nobody answers for the stream.", []string{"stream", "server"}, nil)}
	if r != nil {
		r.MustRegister(c)
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *copies) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements [prometheus.Collector]; it asks nobody.
func (c *copies) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for stream, servers := range c.known {
		for server, good := range servers {
			value := 0.0
			if good {
				value = 1
			}
			out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, value, stream, server)
		}
	}
}

// found takes in what was found of a stream. Where nobody answers for it none of its copies is of use, whatever each of
// them holds; who is not connected, or may not ask, knows nothing.
func (c *copies) found(stream string, servers map[string]bool, err error, connected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		c.known[stream] = servers
	case connected && (noLeader(err) || errors.Is(err, errElecting)):
		for server := range c.known[stream] {
			c.known[stream][server] = false
		}
	default:
		delete(c.known, stream)
	}
}

// watchCopies asks again and again, until the connection is closed.
func (b *Bus) watchCopies(c *copies, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		for name, stream := range b.looksAt() {
			servers, err := b.copiesOf(stream)
			c.found(name, servers, err, b.nc.IsConnected())
		}
		select {
		case <-b.closed:
			return
		case <-tick.C:
		}
	}
}

// looksAt are the streams and buckets that this service uses, each with the name of its stream.
func (b *Bus) looksAt() map[string]string {
	out := make(map[string]string)
	for _, s := range contract.Streams() {
		out[string(s.Name)] = string(s.Name)
	}
	for _, k := range contract.Buckets() {
		out[k.Name] = permit.BucketStream(k.Name)
	}
	for name, stream := range out {
		if !b.uses(contract.Stream(stream)) {
			delete(out, name)
		}
	}
	return out
}

// copiesOf asks which servers have a good copy of a stream.
func (b *Bus) copiesOf(stream string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout/4)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	where := s.CachedInfo().Cluster
	if where == nil {
		where = &jetstream.ClusterInfo{}
	}
	if where.Leader == "" {
		if len(where.Replicas) > 0 {
			return nil, errElecting
		}
		where.Leader = b.nc.ConnectedServerName() // it is the only one
	}
	servers := map[string]bool{where.Leader: true}
	for _, r := range where.Replicas {
		servers[r.Name] = r.Current && !r.Offline
	}
	return servers, nil
}

// errElecting: the servers of a stream have not agreed on one that leads.
var errElecting = errors.New("no server leads this stream now")
