package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"sallyport/pkg/bus/permit"
	"sallyport/pkg/clock"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/sms-dispatcher/sms"
	"sallyport/services/totp-svc/totp"
)

// upCommand is `sallyport up`.
type upCommand struct{ place }

// Help is the long help.
func (*upCommand) Help() string {
	return "The settings of the services, such as PUBLIC_URL and SMS_COUNTRIES, are taken from the environment; auth-gateway, policy-svc, totp-svc and sms-dispatcher each list theirs with --help."
}

// Run runs the whole installation until SIGTERM or SIGINT.
func (c *upCommand) Run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	u, err := start(ctx, c.place, config.Environ())
	if err != nil {
		return err
	}
	go service.PaceMemory(ctx)
	u.announce()
	service.Notify(service.StateReady)
	<-ctx.Done()
	service.Notify(service.StateStopping)
	return u.stop()
}

// installation is everything in one process.
type installation struct {
	place
	infra   *infra
	ops     *service.Ops
	running []*service.Service // in the order of their start
	ready   atomic.Bool
	public  string
}

// starters are the services in the order in which they may depend on each other; the last one lets people in.
var starters = []struct {
	name  contract.Service
	start service.Start
	check func(vars map[string]string) error // of its settings alone
}{
	{contract.TOTP, totp.Start, settled[totp.Settings]},
	{contract.SMSDispatcher, sms.Start, settled[sms.Settings]},
	{contract.Policy, policy.Start, settled[policy.Settings]},
	{contract.AuthGateway, gateway.Start, settled[gateway.Settings]},
}

func settled[S any](vars map[string]string) error {
	_, err := config.Load[S](vars)
	return err
}

// ownSettings are each service's own, and none's where one environment serves all four.
var ownSettings = []string{
	"MONGODB_DATABASE", "NATS_USER", "NATS_USER_FILE", "NATS_PASSWORD", "NATS_PASSWORD_FILE", "NATS_CREDS_FILE", "NATS_CREDS_FILE_FILE",
}

// withoutTLS forgets what is about TLS to NATS: the embedded one has none, on loopback.
func withoutTLS(vars map[string]string) {
	for _, name := range []string{"NATS_CA_FILE", "NATS_CERT_FILE", "NATS_KEY_FILE"} {
		delete(vars, name)
	}
}

// start starts the parts and the services, and adds the demo if asked. On error nothing is left running.
func start(ctx context.Context, p place, environ map[string]string) (_ *installation, err error) {
	log, err := newLog(environ)
	if err != nil {
		return nil, err
	}
	u := &installation{place: p}
	defer func() {
		if err != nil {
			err = errors.Join(err, u.stop())
		}
	}()
	timepiece := clock.System()
	var virtual *clock.Virtual
	if p.Demo {
		if err := os.MkdirAll(p.Data, 0o700); err != nil {
			return nil, fmt.Errorf("--data: %w", err)
		}
		if virtual, err = clock.OpenVirtual(filepath.Join(p.Data, "clock.json")); err != nil {
			return nil, err
		}
		timepiece = virtual
	}
	if u.infra, err = startInfra(p, environ, virtual, log); err != nil {
		return nil, err
	}
	registries := prometheus.Gatherers{}
	envs := make(map[contract.Service]service.Env)
	for _, s := range services() {
		vars := maps.Clone(environ)
		maps.Copy(vars, u.infra.vars)
		// One environment serves four services here: what is each one's own is given by us.
		for _, own := range ownSettings {
			delete(vars, own)
		}
		if u.infra.nats != nil {
			withoutTLS(vars)
		}
		if password, ok := u.infra.passwords[permit.User(s)]; ok {
			vars["NATS_USER"], vars["NATS_PASSWORD"] = string(s), password.Reveal()
		}
		vars["KEYSET_FILE"], vars["LISTEN_ADDR"] = u.infra.keys[s], p.Listen
		if vars["PUBLIC_URL"] == "" {
			vars["PUBLIC_URL"] = "http://" + p.Listen
		}
		if p.Demo && vars["SMS_COUNTRIES"] == "" {
			vars["SMS_COUNTRIES"] = "US,CA,GB"
		}
		u.public = vars["PUBLIC_URL"]
		registry := prometheus.NewRegistry()
		registries = append(registries, registry)
		envs[s] = service.Env{Vars: vars, Clock: timepiece, Log: log, Metrics: registry}
	}
	if err := unusable(envs); err != nil {
		return nil, err
	}
	if u.ops, err = service.ServeOps(p.Ops, log, u.services, registries); err != nil {
		return nil, err
	}
	bound, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	started := make([]*service.Service, len(starters))
	group, all := errgroup.WithContext(bound)
	for n, s := range starters {
		group.Go(func() error {
			svc, err := s.start(all, envs[s.name])
			started[n] = svc
			return err
		})
	}
	err = group.Wait()
	for _, svc := range started {
		if svc != nil {
			u.running = append(u.running, svc)
		}
	}
	if err != nil {
		return nil, err
	}
	if p.Demo {
		if err := gateway.SeedDemo(bound, started[len(started)-1]); err != nil {
			return nil, err
		}
	}
	u.ready.Store(true)
	return u, nil
}

// unusable is all that is wrong with the settings of the services, each once.
func unusable(envs map[contract.Service]service.Env) error {
	var all config.Error
	for _, s := range starters {
		var wrong *config.Error
		switch err := s.check(envs[s.name].Vars); {
		case errors.As(err, &wrong):
			all.Problems = append(all.Problems, wrong.Problems...)
		case err != nil:
			return err
		}
	}
	if len(all.Problems) == 0 {
		return nil
	}
	slices.Sort(all.Problems)
	all.Problems = slices.Compact(all.Problems)
	return &all
}

// services are those whose health counts: none before all are ready.
func (u *installation) services() []*service.Service {
	if !u.ready.Load() {
		return nil
	}
	return u.running
}

// stop ends everything in the reverse order of its start: first who lets people in.
func (u *installation) stop() error {
	u.ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), service.StopTimeout)
	defer cancel()
	var errs []error
	for n := len(u.running) - 1; n >= 0; n-- {
		errs = append(errs, u.running[n].Stop(ctx))
	}
	if u.ops != nil {
		errs = append(errs, u.ops.Close(ctx))
	}
	if u.infra != nil {
		errs = append(errs, u.infra.stop())
	}
	return errors.Join(errs...)
}

// announce prints where everything is.
func (u *installation) announce() {
	var out strings.Builder
	line := func(name, value string) { fmt.Fprintf(&out, "  %-14s %s\n", name, value) }
	fmt.Fprintln(&out, "\nSallyport is running.")
	line("Sign in", u.public+"/sign-in")
	line("API", u.public+"/docs")
	if u.infra.sns != nil {
		line("Text messages", u.infra.sns.URL())
	}
	line("Operations", "http://"+u.ops.Addr()+"/readyz, /metrics")
	line("Data", u.Data)
	if u.Demo {
		fmt.Fprintf(&out, "\nDemo accounts, all with the password %s\n", gateway.DemoPassword)
		for _, a := range gateway.DemoAccounts() {
			fmt.Fprintf(&out, "  %-18s %s\n", a.Email, a.Who)
		}
		fmt.Fprintf(&out, "\nFor the operator's commands, the portal is --portal %s.\n", gateway.DemoPortal)
		fmt.Fprintf(&out, "Internal users set up an authenticator app; contacts read their texts at %s\n", u.infra.vars["AWS_ENDPOINT_URL_SNS"])
	}
	fmt.Fprintln(&out, "\nCtrl-C stops it. What was enrolled is still there next time.")
	fmt.Print(out.String())
}
