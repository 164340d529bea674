package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Ops is the listener for operations: /healthz (the process lives), /readyz (every dependency of every service
// answers; 503 and their names otherwise) and /metrics. It belongs on an inner network: it asks for no credentials.
type Ops struct {
	server   *http.Server
	listener net.Listener
}

// ServeOps opens the listener on addr; a port in use is an error that names it. services is asked at each request,
// so that it may be empty until they have started (not ready).
func ServeOps(addr string, log *slog.Logger, services func() []*Service, gather prometheus.Gatherer) (*Ops, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ops listener: %w", err)
	}
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewBuildInfoCollector())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		running := services()
		wrong := make(map[string]map[string]string)
		for _, s := range running {
			if problems := s.Ready(r.Context()); len(problems) > 0 {
				wrong[string(s.Name)] = problems
			}
		}
		status := http.StatusOK
		if len(running) == 0 || len(wrong) > 0 {
			status = http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": status == http.StatusOK, "problems": wrong})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{process, gather}, promhttp.HandlerOpts{}))
	o := &Ops{listener: l, server: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}}
	go func() {
		if err := o.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("ops listener ended", slog.Any("error", err))
		}
	}()
	return o, nil
}

// Addr is where it listens.
func (o *Ops) Addr() string { return o.listener.Addr().String() }

// Close ends the listener.
func (o *Ops) Close(ctx context.Context) error {
	if err := o.server.Shutdown(ctx); err != nil {
		return fmt.Errorf("ops listener: %w", err)
	}
	return nil
}
