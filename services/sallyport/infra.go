package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/pkg/bus"
	"sallyport/pkg/bus/permit"
	"sallyport/pkg/clock"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
	"sallyport/pkg/service"
)

// place says where an installation keeps its state and listens.
type place struct {
	Data    string `help:"Directory of everything that is kept." default:".sallyport" type:"path"`
	Listen  string `help:"Pages and JSON API." default:"127.0.0.1:8080"`
	Ops     string `help:"Health, readiness and metrics." default:"127.0.0.1:9090"`
	Sandbox string `help:"Embedded SNS endpoint with its inbox." default:"127.0.0.1:8025"`
	NATS    string `name:"nats" help:"Embedded NATS." default:"127.0.0.1:4222"`
	Store   string `help:"Embedded document store." default:"127.0.0.1:27017"`
	Demo    bool   `help:"Add a demo portal with accounts, and a clock that can be moved. Loopback addresses only."`
}

// problems returns what is wrong with the flags, all at once.
func (p place) problems() []string {
	var out []string
	for _, a := range []struct {
		flag, addr string
		loopback   bool
	}{
		{"--listen", p.Listen, p.Demo},
		{"--ops", p.Ops, p.Demo},
		{"--sandbox", p.Sandbox, true},
		{"--nats", p.NATS, true},
		{"--store", p.Store, true},
	} {
		host, _, err := net.SplitHostPort(a.addr)
		if err != nil {
			out = append(out, fmt.Sprintf("%s: %q is not host:port", a.flag, a.addr))
			continue
		}
		ip, err := netip.ParseAddr(host)
		if a.loopback && host != "localhost" && (err != nil || !ip.IsLoopback()) {
			why := "the embedded parts are for this machine alone"
			if p.Demo {
				why = "everybody knows the demo's passwords"
			}
			out = append(out, fmt.Sprintf("%s: %s is not a loopback address, and %s", a.flag, a.addr, why))
		}
	}
	return out
}

// infra is the set of embedded parts that run.
type infra struct {
	nats  *embedded.NATS
	store *embedded.Store
	sns   *embedded.SNS
	keys  map[contract.Service]string
	// passwords are those of the users of the embedded NATS.
	passwords permit.Passwords
	// unkeep ends looking after what is on it.
	unkeep func()
	// vars are the settings by which services find the parts.
	vars map[string]string
}

// startInfra makes the keys and starts each part for which the environment names no other.
func startInfra(p place, vars map[string]string, virtual *clock.Virtual, log *slog.Logger) (_ *infra, err error) {
	if problems := p.problems(); len(problems) > 0 {
		return nil, &config.Error{Problems: problems}
	}
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	i := &infra{vars: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.stop())
		}
	}()
	kept, err := hasData(p.Data)
	if err != nil {
		return nil, fmt.Errorf("--data: %w", err)
	}
	if i.keys, err = seal.Generate(filepath.Join(p.Data, "keys"), services(), kept); errors.Is(err, seal.ErrKMS) {
		return nil, fmt.Errorf("--data %s: %w", p.Data, err) // a part that does not answer; the files may be good
	} else if err != nil {
		problems := strings.Split(err.Error(), "\n")
		for n := range problems {
			problems[n] = fmt.Sprintf("--data %s: %s", p.Data, problems[n])
		}
		return nil, &config.Error{Problems: problems}
	}
	var parts errgroup.Group
	if vars["NATS_URL"] == "" {
		parts.Go(func() (err error) {
			if i.passwords, err = permit.Generate(filepath.Join(p.Data, "keys")); err != nil {
				return fmt.Errorf("--data %s: %w", p.Data, err)
			}
			i.nats, err = embedded.StartNATS(embedded.NATSOptions{Dir: filepath.Join(p.Data, "nats"), Addr: p.NATS, Log: log, Users: i.passwords})
			if err != nil {
				return err
			}
			keeper := bus.Options{
				URL: i.nats.URL(), Name: busName, User: string(permit.Keeper), Password: i.passwords[permit.Keeper], Log: log,
			}
			if err := prepare(context.Background(), keeper); err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(context.Background())
			kept := make(chan struct{})
			i.unkeep = func() { cancel(); <-kept }
			go func() {
				defer close(kept)
				if err := bus.Keep(ctx, keeper); err != nil && ctx.Err() == nil {
					log.Warn("streams are not looked after", slog.Any("error", err))
				}
			}()
			return nil
		})
	}
	if vars["MONGODB_URI"] == "" {
		parts.Go(func() (err error) {
			i.store, err = embedded.StartStore(embedded.StoreOptions{Dir: filepath.Join(p.Data, "store"), Addr: p.Store, Log: log})
			return err
		})
	}
	if vars["AWS_ENDPOINT_URL_SNS"] == "" {
		parts.Go(func() (err error) {
			i.sns, err = embedded.StartSNS(embedded.SNSOptions{Addr: p.Sandbox, Clock: virtual, Log: log})
			return err
		})
	}
	if err := parts.Wait(); err != nil {
		return nil, err
	}
	if i.nats != nil {
		i.vars["NATS_URL"] = i.nats.URL()
	}
	if i.store != nil {
		i.vars["MONGODB_URI"] = i.store.URI()
	}
	if i.sns != nil {
		// The endpoint takes any signature; the SDK wants something to sign with.
		i.vars["AWS_ENDPOINT_URL_SNS"] = i.sns.URL()
		i.vars["AWS_REGION"], i.vars["AWS_ACCESS_KEY_ID"], i.vars["AWS_SECRET_ACCESS_KEY"] = "us-east-1", "sandbox", "sandbox"
	}
	return i, nil
}

// busName is how the commands are called on the bus.
const busName = "sallyport"

// prepare makes the streams, buckets and consumers of a NATS that was just started.
func prepare(ctx context.Context, o bus.Options) error {
	const bound = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	return bus.Prepare(ctx, o)
}

// hasData says whether an embedded part has kept anything in a data directory.
func hasData(dir string) (bool, error) {
	for _, part := range []string{"store", "nats"} {
		files, err := os.ReadDir(filepath.Join(dir, part))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if len(files) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// stop ends the parts.
func (i *infra) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), service.StopTimeout)
	defer cancel()
	var errs []error
	if i.sns != nil {
		errs = append(errs, i.sns.Close(ctx))
	}
	if i.store != nil {
		errs = append(errs, i.store.Close(ctx))
	}
	if i.unkeep != nil {
		i.unkeep()
	}
	if i.nats != nil {
		errs = append(errs, i.nats.Close(ctx))
	}
	return errors.Join(errs...)
}

func services() []contract.Service {
	return []contract.Service{contract.AuthGateway, contract.TOTP, contract.SMSDispatcher, contract.Policy}
}

// infraCommand is `sallyport infra`.
type infraCommand struct{ place }

// Run runs the embedded parts until SIGTERM or SIGINT.
func (c *infraCommand) Run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	vars := config.Environ()
	log, err := newLog(vars)
	if err != nil {
		return err
	}
	i, err := startInfra(c.place, vars, nil, log)
	if err != nil {
		return err
	}
	fmt.Println("# The embedded parts run. Each service needs these, and its own NATS user and key file:")
	for _, name := range []string{"NATS_URL", "MONGODB_URI", "AWS_ENDPOINT_URL_SNS", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if v := i.vars[name]; v != "" {
			fmt.Printf("export %s='%s'\n", name, v)
		}
	}
	if i.nats != nil {
		for _, s := range services() {
			fmt.Printf("# %-15s NATS_USER=%s NATS_PASSWORD_FILE=%s\n", s, s, permit.PasswordFile(filepath.Dir(i.keys[s]), permit.User(s)))
		}
	}
	for _, s := range services() {
		fmt.Printf("# %-15s KEYSET_FILE=%s\n", s, i.keys[s])
	}
	service.Notify(service.StateReady)
	<-ctx.Done()
	service.Notify(service.StateStopping)
	return i.stop()
}

// newLog is the log of a process with many parts: warnings only, unless LOG_LEVEL says otherwise.
func newLog(vars map[string]string) (*slog.Logger, error) {
	s, err := config.Load[struct {
		Level slog.Level `env:"LOG_LEVEL" envDefault:"WARN"`
	}](vars)
	return service.NewLog(os.Stderr, s.Level), err
}

// startBound is how long everything together may take to start. It is long for the sake of a large installation whose
// documents get new indexes; a part that does not answer is told of within half a minute.
const startBound = 10 * time.Minute
