package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "golang.org/x/crypto/x509roots/fallback" // AWS and sign-in providers are believed in an image that has no authorities

	"sallyport/pkg/clock"
	"sallyport/pkg/config"
)

// StopTimeout bounds an orderly stop.
const StopTimeout = 9 * time.Second

// Main runs one service as a process until SIGTERM or SIGINT and returns the exit status: 0 after an orderly stop, 1
// for a fault (a dependency that does not answer, an unclean stop), 2 for settings that are not usable.
// settings is the service's settings type, for --help.
func Main[S any](name string, start Start) int {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	ready := flags.Bool("ready", false, "")
	flags.Usage = func() { usage[S](os.Stderr, name) }
	if err := flags.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%s takes no arguments; it is configured by environment (see --help)\n", name)
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if *ready {
		return askReady(ctx, config.Environ(), os.Stderr)
	}
	return run(ctx, name, config.Environ(), start)
}

func usage[S any](w io.Writer, name string) {
	_, _ = fmt.Fprintf(w, "%s is configured by environment:\n\n", name)
	_ = config.Help[S](w)
	_, _ = fmt.Fprintln(w, "With --ready it starts nothing, but asks the one that runs with this OPS_ADDR whether it is ready: status 0 if it is.")
}

// ops are the settings that the process itself needs before the service looks at its own.
type ops struct {
	OpsAddr  string     `env:"OPS_ADDR" envDefault:"127.0.0.1:9090"`
	LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"INFO"`
}

func run(ctx context.Context, name string, vars map[string]string, start Start) int {
	o, err := config.Load[ops](vars)
	if err != nil {
		o.LogLevel = slog.LevelInfo // the service names this problem together with its own
	}
	env := Env{Vars: vars, Clock: clock.System(), Log: NewLog(os.Stderr, o.LogLevel), Metrics: prometheus.NewRegistry()}
	var running atomic.Pointer[Service]
	var listener *Ops
	if err == nil {
		if listener, err = ServeOps(o.OpsAddr, env.Log, func() []*Service {
			if s := running.Load(); s != nil {
				return []*Service{s}
			}
			return nil
		}, env.Metrics); err != nil {
			env.Log.Error("not started", slog.Any("error", err))
			return 1
		}
	}
	svc, err := start(ctx, env)
	if err != nil {
		var settings *config.Error
		if errors.As(err, &settings) {
			fmt.Fprintln(os.Stderr, settings.Error())
			return 2
		}
		env.Log.Error("not started", slog.Any("error", err))
		return 1
	}
	go PaceMemory(ctx)
	running.Store(svc)
	env.Log.Info("ready", slog.String("service", name))
	<-ctx.Done()
	running.Store(nil) // not ready from now on
	env.Log.Info("stopping", slog.String("service", name))
	bound, cancel := context.WithTimeout(context.Background(), StopTimeout)
	defer cancel()
	err = svc.Stop(bound)
	if listener != nil {
		err = errors.Join(err, listener.Close(bound))
	}
	if err != nil {
		env.Log.Error("stopped uncleanly", slog.Any("error", err))
		return 1
	}
	env.Log.Info("stopped", slog.String("service", name))
	return 0
}
