package main

import (
	"bufio"
	"context"
	"io/fs"
	"maps"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sallyport/pkg/contract"
)

// snapshot is what an installation has done so far, by the counters of its services and of the kernel. All are sums.
type snapshot map[string]float64

// The names of the figures; those of a service or part are followed by its name.
const (
	figCPU      = "cpu/"      // seconds
	figCommands = "commands/" // of the document store
	figWrites   = "writes/"   // those of them that change something
	figCalls    = "calls/"    // that a service made
	figEvents   = "events/"   // that a service consumed
	figAudited  = "audited/"
	figBus      = "bus/"   // bytes between a service and NATS
	figStored   = "store/" // bytes between a service and the document store
	figStream   = "disk/"  // bytes of a stream or bucket on disk
	figSeries   = "series/"
	figWall     = "wall"
)

// look takes a snapshot.
func (h *house) look(ctx context.Context) (snapshot, error) {
	s := snapshot{figWall: float64(time.Now().UnixNano()) / 1e9}
	for name, cmd := range h.cmds {
		cpu, err := cpuOf(cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		s[figCPU+name] = cpu.Seconds()
	}
	for service, ops := range h.ops {
		series, err := scrape(ctx, ops)
		if err != nil {
			return nil, err
		}
		name := string(service)
		s[figSeries+name] = float64(len(series))
		for key, v := range series {
			switch {
			case strings.HasPrefix(key, "sallyport_store_operation_duration_seconds_count{"):
				s[figCommands+name] += v
				if !strings.Contains(key, `command="find"`) && !strings.Contains(key, `command="count"`) && !strings.Contains(key, `command="other"`) {
					s[figWrites+name] += v
				}
			case strings.HasPrefix(key, "sallyport_bus_call_duration_seconds_count{") && strings.Contains(key, `side="client"`):
				s[figCalls+name] += v
			case strings.HasPrefix(key, "sallyport_bus_events_total{"):
				s[figEvents+name] += v
			case strings.HasPrefix(key, "sallyport_policy_audited_total"):
				s[figAudited+name] += v
			}
		}
		s[figBus+name] = float64(h.toNATS[service].there.Load() + h.toNATS[service].back.Load())
		s[figStored+name] = float64(h.toStore[service].there.Load() + h.toStore[service].back.Load())
	}
	return s, h.disk(s)
}

// disk adds what streams and buckets take.
func (h *house) disk(s snapshot) error {
	return filepath.WalkDir(filepath.Join(h.dir, "nats"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".blk" {
			return nil //nolint:nilerr // a file that vanishes while the server works holds nothing
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		_, rest, ok := strings.Cut(path, "/streams/")
		stream, _, _ := strings.Cut(rest, "/")
		if ok {
			s[figStream+stream] += float64(info.Size())
		}
		return nil
	})
}

// scrape reads /metrics: every series with its value.
func scrape(ctx context.Context, ops string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ops+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || lines.Text()[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(lines.Text()[at+1:], 64)
		if err != nil {
			return nil, err
		}
		out[lines.Text()[:at]] = v
	}
	return out, nil
}

// minus is what happened between two snapshots.
func (s snapshot) minus(before snapshot) snapshot {
	out := maps.Clone(s)
	for k, v := range before {
		out[k] -= v
	}
	return out
}

// each is what one of n operations did, when the rest of the time was spent as in an idle second.
func (s snapshot) each(n int, idle snapshot) snapshot {
	out := make(snapshot, len(s))
	for k, v := range s {
		out[k] = (v - idle[k]*s[figWall]) / float64(n)
	}
	return out
}

// perSecond divides by the time that passed.
func (s snapshot) perSecond() snapshot {
	out := make(snapshot, len(s))
	for k, v := range s {
		out[k] = v / s[figWall]
	}
	return out
}

// sum adds up a figure over services or parts.
func (s snapshot) sum(figure string) float64 {
	var sum float64
	for k, v := range s {
		if strings.HasPrefix(k, figure) {
			sum += v
		}
	}
	return sum
}

// of is the figure of one service.
func (s snapshot) of(figure string, service contract.Service) float64 {
	return s[figure+string(service)]
}
