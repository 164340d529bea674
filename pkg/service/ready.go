package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"sallyport/pkg/config"
)

// readyBound is how long an answer to --ready may take; /readyz itself gives up on a dependency after two seconds.
const readyBound = 3 * time.Second

// askReady asks the service that runs on this machine with these settings whether it is ready, and returns the exit
// status: 0 if it is, otherwise 1 with what it says. It is the health check of an image that holds nothing but the service.
func askReady(ctx context.Context, vars map[string]string, w io.Writer) int {
	fail := func(err error) int {
		_, _ = fmt.Fprintln(w, err)
		return 1
	}
	o, err := config.Load[struct {
		OpsAddr string `env:"OPS_ADDR" envDefault:"127.0.0.1:9090"`
	}](vars)
	if err != nil {
		return fail(err)
	}
	host, port, err := net.SplitHostPort(o.OpsAddr)
	if err != nil {
		return fail(fmt.Errorf("OPS_ADDR: %w", err))
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return fail(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return 0
	}
	_, _ = io.Copy(w, io.LimitReader(resp.Body, 64<<10))
	return 1
}
