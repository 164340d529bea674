package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/service"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/totp-svc/totp"
)

// profile runs the services in this process and writes where the time of verifications and of session checks goes. The
// clients are in the profile, too: ignore what is below (*client).do.
func (b *bench) profile(ctx context.Context, into string) (err error) {
	if err := os.MkdirAll(into, 0o700); err != nil {
		return err
	}
	if err := b.profileTexts(ctx, into); err != nil {
		return err
	}
	dir, err := b.installation("middle", middle)
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
	addrs, err := freePorts(1)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		name  contract.Service
		start service.Start
	}{{contract.TOTP, totp.Start}, {contract.Policy, policy.Start}, {contract.AuthGateway, gateway.Start}} {
		svc, err := s.start(ctx, service.Env{
			Vars: map[string]string{
				"NATS_URL": nats.URL(), "MONGODB_URI": st.URI(), "KEYSET_FILE": filepath.Join(dir, "keys", string(s.name)+".json"),
				"MONGODB_DATABASE": "sallyport_" + strings.ReplaceAll(string(s.name), "-", "_"),
				"LISTEN_ADDR":      addrs[0], "PUBLIC_URL": "http://" + addrs[0],
			},
			Clock: clock.System(), Log: log, Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			return err
		}
		stops = append(stops, svc.Stop)
	}
	c := newClient(addrs[0], os.Getpid())
	b.middle = nil
	var people []user
	for n := range 1000 {
		people = append(people, user{n: n})
	}
	prepared, err := beginAll(c, people)
	if err != nil {
		return err
	}
	r, err := profiled(filepath.Join(into, "verifications.pprof"), func() (result, error) { return b.verifyAll(c, 8, prepared, 0) })
	if err != nil {
		return err
	}
	progress("verifications at 8: %s/s", number(r.perSecond()))
	again, err := c.begin(people[0])
	if err != nil {
		return err
	}
	code, err := people[0].code(time.Now().Add(30 * time.Second))
	if err != nil {
		return err
	}
	token, err := c.verify(again, code)
	if err != nil {
		return err
	}
	r, err = profiled(filepath.Join(into, "sessions.pprof"), func() (result, error) {
		return drive(32, 10*time.Second, func(int) error { return c.session(token) })
	})
	if err != nil {
		return err
	}
	progress("session checks at 32: %s/s", number(r.perSecond()))
	return nil
}

func profiled(file string, run func() (result, error)) (_ result, err error) {
	f, err := os.Create(file)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return result{}, err
	}
	defer pprof.StopCPUProfile()
	return run()
}
