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
	"sallyport/pkg/contract"
)

// StopTimeout bounds an orderly stop.
const StopTimeout = 9 * time.Second

// Main runs one service as a process until SIGTERM or SIGINT and returns the exit status: 0 after an orderly stop, 1
// for a fault (a dependency that does not answer, an unclean stop), 2 for settings that are not usable.
// S is the service's settings type: they are checked before anything else happens, and shown by --help.
func Main[S interface{ Common() Settings }](name contract.Service, start Start) int {
	flags := flag.NewFlagSet(string(name), flag.ContinueOnError)
	flags.SetOutput(os.Stderr)
	ready := flags.Bool("ready", false, "")
	flags.Usage = func() {} // to whom it is shown is decided below
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		usage[S](os.Stdout, name)
		return 0
	case err != nil:
		usage[S](os.Stderr, name)
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
	settings, err := Load[S](name, config.Environ())
	if err != nil {
		return refused(err, NewLog(os.Stderr, slog.LevelInfo))
	}
	return run(ctx, name, settings.Common(), config.Environ(), start)
}

// refused says why a service does not start, and returns the exit status for it.
func refused(err error, log *slog.Logger) int {
	var settings *config.Error
	if errors.As(err, &settings) {
		fmt.Fprintln(os.Stderr, settings.Error())
		return 2
	}
	log.Error("not started", slog.Any("error", err))
	return 1
}

func usage[S any](w io.Writer, name contract.Service) {
	_, _ = fmt.Fprintf(w, "%s is configured by environment:\n\n", name)
	_ = config.Help[S](w)
	_, _ = fmt.Fprintln(w, "With --ready it starts nothing, but asks the one that runs with this OPS_ADDR whether it is ready: status 0 if it is.")
}

func run(ctx context.Context, name contract.Service, settings Settings, vars map[string]string, start Start) int {
	env := Env{Vars: vars, Clock: clock.System(), Log: NewLog(os.Stderr, settings.LogLevel), Metrics: prometheus.NewRegistry()}
	var running atomic.Pointer[Service]
	listener, err := ServeOps(settings.OpsAddr, env.Log, func() []*Service {
		if s := running.Load(); s != nil {
			return []*Service{s}
		}
		return nil
	}, env.Metrics)
	if err != nil {
		return refused(err, env.Log)
	}
	svc, err := start(ctx, env)
	if err != nil {
		return refused(err, env.Log)
	}
	go PaceMemory(ctx)
	running.Store(svc)
	env.Log.Info("ready", slog.String("service", string(name)))
	Notify(StateReady)
	<-ctx.Done()
	running.Store(nil) // not ready from now on
	Notify(StateStopping)
	env.Log.Info("stopping", slog.String("service", string(name)))
	bound, cancel := context.WithTimeout(context.Background(), StopTimeout)
	defer cancel()
	if err := errors.Join(svc.Stop(bound), listener.Close(bound)); err != nil {
		env.Log.Error("stopped uncleanly", slog.Any("error", err))
		return 1
	}
	env.Log.Info("stopped", slog.String("service", string(name)))
	return 0
}
