package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
	"sallyport/pkg/service"
	"sallyport/services/sms-dispatcher/sms"
)

// profileTexts writes where the time of sending texts goes, with a dispatcher and the embedded parts in this process.
func (b *bench) profileTexts(ctx context.Context, into string) (err error) {
	dir := filepath.Join(b.dir, "texts")
	paths, err := seal.Generate(filepath.Join(dir, "keys"), []contract.Service{contract.AuthGateway, contract.SMSDispatcher}, false)
	if err != nil {
		return err
	}
	var stops []func(context.Context) error
	defer func() {
		bound, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for n := len(stops) - 1; n >= 0; n-- {
			err = errors.Join(err, stops[n](bound))
		}
	}()
	log := slog.New(slog.DiscardHandler)
	nats, err := embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(dir, "nats"), Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		return err
	}
	stops = append(stops, nats.Close)
	st, err := embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(dir, "store"), Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		return err
	}
	stops = append(stops, st.Close)
	endpoint, err := embedded.StartSNS(embedded.SNSOptions{Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		return err
	}
	stops = append(stops, endpoint.Close)

	y := &yard{dir: dir, sandbox: endpoint.URL(), vars: []string{
		"NATS_URL=" + nats.URL(), "MONGODB_URI=" + st.URI(), "AWS_ENDPOINT_URL_SNS=" + endpoint.URL(), "AWS_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=sandbox", "AWS_SECRET_ACCESS_KEY=sandbox",
	}}
	keys, err := seal.Load(paths[contract.AuthGateway], contract.AuthGateway)
	if err != nil {
		return err
	}
	y.box = keys.Bus
	vars := maps.Collect(func(yield func(string, string) bool) {
		for _, v := range y.settings(16) {
			if name, value, _ := strings.Cut(v, "="); !yield(name, value) {
				return
			}
		}
	})
	svc, err := sms.Start(ctx, service.Env{Vars: vars, Clock: clock.System(), Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	stops = append(stops, svc.Stop)
	for _, c := range []struct {
		bus  **bus.Bus
		name contract.Service
	}{{&y.gateway, contract.AuthGateway}, {&y.watcher, contract.SMSDispatcher}} {
		if *c.bus, err = bus.Visit(ctx, bus.Options{URL: nats.URL(), Name: c.name, Log: log}); err != nil {
			return err
		}
		stops = append(stops, (*c.bus).Close)
	}
	if err := y.endpoint(ctx, fmt.Sprintf(`{"delay":%q}`, snsLatency)); err != nil {
		return err
	}
	jobs, err := y.openMany(ctx, mostTexts, youngest)
	if err != nil {
		return err
	}
	dump := func() {
		fs, _ := svc.Metrics.Gather()
		for _, f := range fs {
			if f.GetName() == "sallyport_store_operation_duration_seconds" {
				for _, m := range f.GetMetric() {
					progress("DBG %v %d %.2f", m.GetLabel(), m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum())
				}
			}
		}
	}
	dump()
	defer dump()
	begin := time.Now()
	_, err = profiled(filepath.Join(into, "texts.pprof"), func() (result, error) {
		return result{}, errors.Join(y.publish(ctx, jobs), y.idle(ctx, time.Minute))
	})
	progress("texts with 16 workers: %s/s", number(float64(len(jobs))/time.Since(begin).Seconds()))
	return err
}
