package observe

import (
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestOutagesAreSeen: whatever part of an installation is broken by hand, the dashboard of services says which, the alert is
// about to ring, and both are over when it is back.
func TestOutagesAreSeen(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	ops := make(map[string]string)
	for _, name := range sut.Services {
		ops[name] = s.OpsURL(name)
	}
	prom := startPrometheus(t, ops, "3s")
	const (
		allReady  = `count(max by (service) (min by (service, instance) (sallyport_ready)) == 1) == 4`
		connected = `min(sallyport_bus_connected) == 1 and count(sallyport_bus_connected) == 4`
	)
	finds(t, prom, "all is well", allReady)
	finds(t, prom, "all is well", connected)
	finds(t, prom, "versions side by side", `count(count by (service, version, revision, goversion) (sallyport_build_info)) == 4`)

	s.Service["totp-svc"].Kill9()
	finds(t, prom, "totp-svc was killed", `ALERTS{alertname="ServiceGone", service="totp-svc"}`)
	finds(t, prom, "totp-svc was killed", `count(max by (service) (min by (service, instance) (sallyport_ready)) == 1) == 3`)
	finds(t, prom, "totp-svc was killed", `ALERTS{alertname="ServiceReplicaDown", service="totp-svc"}`)
	begun := s.BeginSignIn("agent@demo.test")
	sut.Expect(t, s.Do(http.MethodPost, begun.Path("/enrollment"), begun.Token, map[string]string{"factor": "totp"}), http.StatusServiceUnavailable, "unavailable")
	finds(t, prom, "people feel it", `sallyport:gateway_errors:increase5m > 0`)
	finds(t, prom, "and which call it was", `sallyport:bus_calls_failed:increase5m{subject="sallyport.call.totp.begin"} > 0`)
	s.StartService("totp-svc")
	finds(t, prom, "totp-svc is back", allReady)
	ends(t, prom, "totp-svc is back", `ALERTS{alertname="ServiceGone"}`)

	s.Infra.Kill9()
	finds(t, prom, "the bus is gone", `max(sallyport_bus_connected) == 0`)
	for _, check := range []string{"nats", "store"} {
		finds(t, prom, "bus and documents are gone", `count(ALERTS{alertname="ServiceNotReady", check="`+check+`"}) == 4`)
	}
	s.StartInfra()
	finds(t, prom, "bus and documents are back", allReady)
	finds(t, prom, "the bus is back", connected)
	ends(t, prom, "bus and documents are back", `ALERTS{alertname="ServiceNotReady"}`)
}

// ends fails the test unless a query finds nothing soon.
func ends(t *testing.T, prom *prometheus, where, expr string) {
	t.Helper()
	sut.Eventually(t, 30*time.Second, where+": "+expr+" is over", func() bool {
		series, err := prom.ask(expr)
		return err == nil && len(series) == 0
	})
}
