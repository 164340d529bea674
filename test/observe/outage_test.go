package observe

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestOutagesAreSeen: whatever part of an installation is broken by hand, the dashboard of services says which, the alert is
// about to ring, and both are over when it is back. What the dashboard says is what its own queries find.
func TestOutagesAreSeen(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil), Replicas: 2})
	ops := make(map[string]string)
	for _, place := range s.Places {
		ops[place] = s.OpsURL(place)
	}
	prom := startPrometheus(t, ops, "3s")
	d := dashboards(t)["services.json"]
	shows := func(where, title string, nth int, compared string) {
		t.Helper()
		finds(t, prom, where, "("+d.of(t, title, nth)+") "+compared)
	}
	well := func(where string) {
		t.Helper()
		shows(where, "Services ready", 0, "== 4")
		shows(where, "Replicas down", 0, "== 0")
		shows(where, "Connected to the bus", 0, "== 2")
		shows(where, "NATS servers without a copy", 0, "== 0")
		ends(t, prom, where, d.of(t, "Replicas that are down", 0))
		ends(t, prom, where, "("+d.of(t, "Ready", 0)+") == 0")
		ends(t, prom, where, "("+d.of(t, "Ready", 1)+") == 0")
		ends(t, prom, where, `ALERTS{alertname=~"Service.+|TextsDispatcher.+"}`)
	}
	well("all is well")
	shows("versions side by side", "What runs", 0, "== 1")

	// One of two of each service: people notice nothing, the dashboard names all four.
	for _, name := range sut.Services {
		s.Service[name+"-2"].Kill9()
	}
	for _, name := range sut.Services {
		where := name + "-2 was killed"
		named := fmt.Sprintf(`and on (service) label_replace(vector(1), "service", %q, "", "")`, name)
		shows(where, "Replicas that are down", 0, named)
		shows(where, "Ready", 1, "== 0 "+named)
		shows(where, "Replicas", 0, "== 1 "+named)
		finds(t, prom, where, fmt.Sprintf(`ALERTS{alertname=~"ServiceReplicaDown|TextsDispatcherReplicaDown", service=%q}`, name))
	}
	shows("one of two of each was killed", "Replicas down", 0, "== 4")
	shows("one of two of each was killed", "Services ready", 0, "== 0")

	// The last of one service as well: who needs it is told to try again.
	s.Service["totp-svc"].Kill9()
	finds(t, prom, "totp-svc was killed", `ALERTS{alertname="ServiceGone", service="totp-svc"}`)
	shows("totp-svc was killed", "Replicas down", 0, "== 5")
	ends(t, prom, "totp-svc was killed", "("+d.of(t, "Replicas", 0)+`) and on (service) label_replace(vector(1), "service", "totp-svc", "", "")`)
	begun := s.BeginSignIn("agent@demo.test")
	sut.Expect(t, s.Do(http.MethodPost, begun.Path("/enrollment"), begun.Token, map[string]string{"factor": "totp"}), http.StatusServiceUnavailable, "unavailable")
	shows("people feel it", "Faults by route", 0, "> 0")
	shows("and which call it was", "Calls that fail", 0, `> 0 and on (subject) label_replace(vector(1), "subject", "sallyport.call.totp.begin", "", "")`)
	s.BeginService("totp-svc")
	for _, name := range sut.Services {
		s.BeginService(name + "-2")
	}
	well("all are back")

	s.Infra.Kill9()
	shows("the bus is gone", "Connected to the bus", 0, "== 0")
	for _, check := range []string{"nats", "store"} {
		shows("bus and documents are gone", "Ready", 0, fmt.Sprintf(`== 0 and on (check) label_replace(vector(1), "check", %q, "", "")`, check))
		finds(t, prom, "bus and documents are gone", `count(ALERTS{alertname="ServiceNotReady", check="`+check+`"}) == 4`)
	}
	shows("bus and documents are gone", "Replicas down", 0, "== 8")
	// What nobody can see is not said to be well.
	ends(t, prom, "nobody sees the servers", d.of(t, "NATS servers without a copy", 0))
	s.StartInfra()
	well("bus and documents are back")
}

// of is the nth query of the first panel of a title, as the dashboard puts it.
func (d dashboard) of(t *testing.T, title string, nth int) string {
	t.Helper()
	for _, p := range d.all() {
		if p.Title == title {
			return d.fill(t, p.Targets[nth].Expr)
		}
	}
	t.Fatalf("%s has no panel %q", d.Title, title)
	return ""
}

// ends fails the test unless a query finds nothing soon.
func ends(t *testing.T, prom *prometheus, where, expr string) {
	t.Helper()
	sut.Eventually(t, 30*time.Second, where+": "+expr+" is over", func() bool {
		series, err := prom.ask(expr)
		return err == nil && len(series) == 0
	})
}
