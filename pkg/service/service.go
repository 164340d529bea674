// Package service answers: how does a service start, report health and stop?
package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/clock"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
	"sallyport/pkg/trace"
)

// Env is everything a service takes from outside. Tests, the one-process installation and main all fill it.
type Env struct {
	// Vars are the settings, as environment variables.
	Vars map[string]string
	// Clock decides every deadline.
	Clock clock.Clock
	Log   *slog.Logger
	// Metrics is this service's own registry.
	Metrics *prometheus.Registry
}

// Start starts a service and returns it ready. It gives up when ctx ends, leaving nothing behind. Each service
// exports one.
type Start func(ctx context.Context, env Env) (*Service, error)

// NATSTLS are the settings of TLS to NATS.
type NATSTLS struct {
	CAFile   string `env:"NATS_CA_FILE" help:"who may have signed the certificate of NATS (PEM); the system's authorities by default. With it, NATS without TLS is refused"`
	CertFile string `env:"NATS_CERT_FILE" help:"own certificate (PEM), where NATS wants one"`
	KeyFile  string `env:"NATS_KEY_FILE" help:"key of NATS_CERT_FILE (PEM)"`
}

// TLS is what they say to the bus.
func (s NATSTLS) TLS() bus.TLS {
	return bus.TLS{CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile}
}

// Validate returns what is wrong with them.
func (s NATSTLS) Validate() []string { return s.TLS().Problems() }

// Settings are what every service is told; a service embeds them in its own.
type Settings struct {
	NATSURL       string        `env:"NATS_URL,required,notEmpty" help:"where NATS is, e.g. nats://127.0.0.1:4222"`
	NATSCredsFile string        `env:"NATS_CREDS_FILE" help:"NATS credentials file of this service"`
	NATSUser      string        `env:"NATS_USER" help:"NATS user, where there is no credentials file; that of the service where its password lies beside KEYSET_FILE"`
	NATSPassword  secret.String `env:"NATS_PASSWORD" help:"password of NATS_USER"`
	NATSReplicas  int           `env:"NATS_REPLICAS" envDefault:"1" help:"copies of streams and buckets: 3 on a cluster"`
	MongoDBURI    secret.String `env:"MONGODB_URI,required,notEmpty" help:"where the document store is, e.g. mongodb://127.0.0.1:27017"`
	MongoDBName   string        `env:"MONGODB_DATABASE" help:"database of this service; sallyport_ and its name by default"`
	KeysetFile    string        `env:"KEYSET_FILE,required,notEmpty" help:"key file of this service (mode 0600); a key of AWS KMS may wrap it. It is read again when it changes"`
	OpsAddr       string        `env:"OPS_ADDR" envDefault:"127.0.0.1:9090" help:"listener of /healthz, /readyz and /metrics"`
	LogLevel      slog.Level    `env:"LOG_LEVEL" envDefault:"INFO" help:"DEBUG, INFO, WARN or ERROR"`
	StartTimeout  time.Duration `env:"START_TIMEOUT" envDefault:"30s" help:"how long to wait for NATS and the document store at start"`

	NATSTLS
	trace.OTel
}

// Common are the settings themselves, of whatever embeds them.
func (s Settings) Common() Settings { return s }

// Problems returns what is wrong with the shared settings beyond their types, as far as it shows without asking anybody.
func (s Settings) Problems() []string {
	out := append(s.TLS().Problems(), s.OTel.Problems()...)
	say := func(name, value string, check func(string) error) {
		if value == "" {
			return // where it is required, that was said
		}
		if err := check(value); err != nil {
			out = append(out, name+": "+err.Error())
		}
	}
	say("NATS_URL", s.NATSURL, bus.CheckURL)
	say("MONGODB_URI", s.MongoDBURI.Reveal(), store.CheckURI)
	say("OPS_ADDR", s.OpsAddr, config.ListenAddr)
	if s.NATSCredsFile != "" && s.NATSUser != "" {
		out = append(out, "NATS_CREDS_FILE: set it or NATS_USER, not both")
	} else {
		say("NATS_CREDS_FILE", s.NATSCredsFile, bus.CheckCreds)
	}
	if s.NATSReplicas != 1 && s.NATSReplicas != 3 && s.NATSReplicas != 5 {
		out = append(out, "NATS_REPLICAS: must be 1, 3 or 5")
	}
	if s.StartTimeout <= 0 || s.StartTimeout > 10*time.Minute {
		out = append(out, "START_TIMEOUT: must be between 0s and 10m")
	}
	return out
}

// Load reads the settings of a service and looks at the key file that they name, so that all that is wrong with either is in
// one [*config.Error].
func Load[S interface{ Common() Settings }](name contract.Service, vars map[string]string) (S, error) {
	s, err := config.Load[S](vars)
	var wrong *config.Error
	if err != nil && !errors.As(err, &wrong) {
		return s, err
	}
	file := s.Common().KeysetFile
	if file == "" {
		return s, err // it is required, and that was said
	}
	if bad := seal.Check(file, name); bad != nil {
		if wrong == nil {
			wrong = &config.Error{}
		}
		wrong.Problems = append(wrong.Problems, "KEYSET_FILE: "+bad.Error())
		slices.Sort(wrong.Problems)
		return s, wrong
	}
	return s, err
}

// Service is a running service: its connections, what must be true for it to be ready, and how it is stopped.
type Service struct {
	Name    contract.Service
	Clock   clock.Clock
	Log     *slog.Logger
	Metrics *prometheus.Registry
	Bus     *bus.Bus
	DB      *store.DB
	Outbox  *store.Outbox
	Keys    *seal.Keys
	// Trace makes the spans of this service; nil where nothing is traced.
	Trace *trace.Tracer

	mu     sync.Mutex
	checks []check
	stops  []stop
	work   sync.WaitGroup
	ctx    context.Context //nolint:containedctx // the life of the service's own background work
	cancel context.CancelFunc
}

type check struct {
	name string
	run  func(context.Context) error
}

type stop struct {
	name string
	run  func(context.Context) error
}

// What a crash, a fault or an operator's command left in an outbox is told after the grace, and at most one sweep later.
// The grace is longer than a note and the write it announces may take together; a sweep costs a look at a collection that
// holds what is in hand.
const (
	sweepEvery = 2 * time.Second
	sweepGrace = 5 * time.Second
)

// Open loads the keys and connects bus and store, at most for the start time-out. Its error names the part that is
// missing: a [*config.Error] for what the operator must set right, anything else for what does not answer.
func Open(ctx context.Context, name contract.Service, env Env, s Settings) (*Service, error) {
	svc := &Service{
		Name: name, Clock: env.Clock, Metrics: env.Metrics,
		Log: env.Log.With(slog.String("service", string(name))),
	}
	svc.ctx, svc.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if svc.Keys, err = seal.Load(s.KeysetFile, name); err != nil {
		svc.cancel()
		if errors.Is(err, seal.ErrKMS) {
			return nil, err // a part that does not answer; the file may be good
		}
		return nil, &config.Error{Problems: []string{"KEYSET_FILE: " + err.Error()}}
	}
	if svc.Trace, err = trace.Open(string(name), bus.NewID(), s.OTel, svc.Log); err != nil {
		svc.cancel()
		return nil, err
	}
	if s.MongoDBName == "" {
		s.MongoDBName = store.Database(name)
	}
	registerer := svc.Registerer()
	newBuildInfo(registerer)
	newReadiness(registerer, svc)
	// They are seen from the start: who waits for a part that is away has it at 0.
	svc.CheckReady("nats", func(context.Context) error { return errNotYet })
	svc.CheckReady("store", func(context.Context) error { return errNotYet })
	ctx, cancel := context.WithTimeout(ctx, s.StartTimeout)
	defer cancel()
	o := bus.Options{
		URL: s.NATSURL, CredsFile: s.NATSCredsFile, User: s.NATSUser, Password: s.NATSPassword, Name: name,
		TLS: s.TLS(), Replicas: s.NATSReplicas, Log: svc.Log, Metrics: registerer, Trace: svc.Trace,
	}
	if o.CredsFile == "" && o.User == "" {
		// An embedded NATS has put the password beside the key file, for a service that was told of nothing else.
		switch password, err := permit.Password(filepath.Dir(s.KeysetFile), permit.User(name)); {
		case err == nil:
			o.User, o.Password = string(name), password
		case !errors.Is(err, fs.ErrNotExist):
			svc.cancel()
			return nil, errors.Join(&config.Error{Problems: []string{"NATS_PASSWORD_FILE: it is not set, and the one beside KEYSET_FILE cannot be used: " + err.Error()}},
				svc.Trace.Close(context.WithoutCancel(ctx)))
		}
	}
	svc.Bus, err = bus.Connect(ctx, o)
	if err != nil {
		svc.cancel()
		return nil, errors.Join(err, svc.Trace.Close(context.WithoutCancel(ctx)))
	}
	svc.CheckReady("nats", svc.Bus.Ready)
	svc.DB, err = store.Connect(ctx, store.Options{
		URI: s.MongoDBURI.Reveal(), Database: s.MongoDBName, Name: string(name), Log: svc.Log, Metrics: registerer,
	})
	if err != nil {
		return nil, svc.Abandon(ctx, err)
	}
	svc.CheckReady("store", svc.DB.Ready)
	svc.Outbox = store.NewOutbox(svc.DB, svc.Log, svc.Bus.Send)
	svc.Outbox.Measure(registerer)
	svc.Go(func(ctx context.Context) { svc.Outbox.Run(ctx, sweepEvery, sweepGrace) })
	svc.followKeys()
	return svc, nil
}

// Abandon stops a service whose start failed, within [StopTimeout], and returns why it failed and what went wrong on the way out.
func (s *Service) Abandon(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), StopTimeout)
	defer cancel()
	return errors.Join(why, s.Stop(ctx))
}

// Registerer is where this service's metrics go: every one carries its name.
func (s *Service) Registerer() prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"service": string(s.Name)}, s.Metrics)
}

// OnStop adds a step that ends intake; such steps run first, the last added before the others.
func (s *Service) OnStop(name string, f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, stop{name, f})
}

// CheckReady adds something that must be true for the service to be ready, or replaces the check of that name.
func (s *Service) CheckReady(name string, f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = slices.DeleteFunc(slices.Clone(s.checks), func(c check) bool { return c.name == name })
	s.checks = append(s.checks, check{name, f})
}

// allChecks are those that there are now.
func (s *Service) allChecks() []check {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks
}

// Go runs background work until the service stops; f returns when its context ends.
func (s *Service) Go(f func(context.Context)) {
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		f(s.ctx)
	}()
}

// Ready asks every check, at once, and returns what is wrong by name; empty means ready.
func (s *Service) Ready(ctx context.Context) map[string]string {
	checks := s.allChecks()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	wrong := make(map[string]string)
	for _, c := range checks {
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				mu.Lock()
				wrong[c.name] = err.Error()
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return wrong
}

// Stop ends the service in order: its own steps (intake), calls and events in hand, background work, letters in hand,
// the connections, and last what is known of it all: traces. It is bounded by ctx, and every step runs whatever became of the others.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	own := s.stops
	s.stops = nil
	s.mu.Unlock()
	slices.Reverse(own)
	steps := append(own,
		stop{"calls and events", s.Bus.Drain},
		stop{"background work", s.finish},
	)
	if s.Outbox != nil {
		steps = append(steps, stop{"outbox", s.Outbox.Close})
	}
	steps = append(steps, stop{"bus", s.Bus.Close})
	if s.DB != nil {
		steps = append(steps, stop{"store", s.DB.Close})
	}
	steps = append(steps, stop{"traces", s.Trace.Close})
	var errs []error
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: stop %s: %w", s.Name, step.name, err))
		}
	}
	return errors.Join(errs...)
}

// finish ends background work and waits for it.
func (s *Service) finish(ctx context.Context) error {
	s.cancel()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
