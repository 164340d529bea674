package observe

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// selector finds what a query takes its numbers from: a name with its matchers.
var selector = regexp.MustCompile(`\b(up|ALERTS|sallyport[_:][a-z0-9_:]+)(\{[^}]*\})?`)

// TestEveryQueryFindsSomething: every query of every dashboard and rule is understood by Prometheus and has a number to
// show on an installation at work, and every name and label value in it exists there. What goes wrong is seen.
func TestEveryQueryFindsSomething(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{
		"SMS_COUNTRIES": "US,GB", "SMS_DAILY_BUDGET": "1000", "SMS_PRICES": "US=0.0075,GB=0.04",
	})})
	prom := startPrometheus(t, map[string]string{"sallyport": p.Ops}, "1s")
	texts(t, p)
	authenticators(t, p)

	rules := prom.rules()
	if len(rules) == 0 {
		t.Fatal("Prometheus has no rules")
	}
	// What is recorded from something that is not there is not there either.
	recorded := map[string]string{}
	for _, r := range rules {
		if r.Type == "recording" {
			recorded[r.Name] = r.Query
		}
	}
	excused := func(expr string) bool { return excuse(expr, recorded) != "" }

	for _, q := range rules {
		checkRule(t, prom, q, excused)
	}
	for file, d := range dashboards(t) {
		for _, q := range d.queries(t, file) {
			checkQuery(t, prom, q, excused)
		}
	}
	checkConsoles(t, prom, excused)
	// And they tell what was done to it.
	for _, expr := range []string{
		`sum(sallyport_sms_attempts_total{class="not_sent"}) >= 1`, `sum(sallyport_sms_attempts_total{class="permanent"}) >= 1`,
		`sum(sallyport_sms_challenges_ended_total{outcome="failed"}) >= 1`, `sallyport:sms_handed_over:ratio15m < 1`,
		`60 * sallyport:sms_answered:rate5m > 0`,
		`sallyport:codes_wrong:increase15m >= 5`, `sallyport:factors_locked:increase15m >= 1`, `sallyport:recovery_codes_used:increase1h >= 1`,
		`sum(sallyport_gateway_sign_ins_total{population="internal", outcome="locked"}) >= 1`,
		`sum(sallyport_policy_resets_total{by="master_admin"}) == 21`, `sum(sallyport_policy_resets_total{by="recovery"}) == 1`,
		`ALERTS{alertname="AdminResetsMany", alertstate="firing"}`,
	} {
		finds(t, prom, "the faults of this test", expr)
	}
	// So do the alerts: they wait for a minute before they ring, and are pending until then.
	p.Faults("spend_limit", 0)
	p.BeginSignIn("owner@acme.test")
	finds(t, prom, "AWS refuses our account", `ALERTS{alertname="TextsPaused"}`)
	p.Faults("none", 0)
	finds(t, prom, "AWS takes texts again", `max(sallyport_sms_queue_paused) == 0`)
	p.Stop()
	finds(t, prom, "nobody sends", `ALERTS{alertname="TextsDispatcherGone"}`)
}

// texts is a morning of a few contacts, in which the carrier stumbles and one of them has opted out.
func texts(t *testing.T, p *sut.Product) {
	t.Helper()
	people := map[string]string{"clerk@acme.test": "+17015559443", "owner@acme.test": "+17015559444", "temp@acme.test": "+17015559446"}
	for email, phone := range people {
		p.EnrolSMS(email, phone)
	}
	for range 2 {
		p.Advance(6 * time.Minute)
		p.Faults("throttle", 1)
		for email, phone := range people {
			p.SignInSMS(email, phone)
		}
	}
	p.Advance(6 * time.Minute)
	p.Faults("opted_out", 1)
	failed := p.BeginSignIn("clerk@acme.test")
	sut.Eventually(t, 30*time.Second, "the opt-out is told", func() bool {
		return sut.Want[sut.SignIn](t, http.StatusOK, p.Do(http.MethodGet, failed.Path(""), failed.Token, nil)).Delivery == "failed"
	})
	// Every challenge is over: those that were never answered too.
	p.Advance(6 * time.Minute)
}

// authenticators is a morning of two internal users. One of them mistypes until they are locked, comes in with a recovery
// code, and is reset by an admin, who cannot stop.
func authenticators(t *testing.T, p *sut.Product) {
	t.Helper()
	const admin, agent = "admin@demo.test", "agent@demo.test"
	adminKey, _ := p.EnrolTOTP(admin)
	key, session := p.EnrolTOTP(agent)
	recovery := sut.Want[struct{ Codes []string }](t, http.StatusOK, p.Do(http.MethodPost, "/v1/account/recovery-codes", session, nil)).Codes[0]
	for range 2 {
		sut.Want[any](t, http.StatusOK, p.Who(p.SignInTOTP(agent, key)))
	}
	guessed := p.BeginSignIn(agent)
	for range 5 {
		p.Do(http.MethodPost, guessed.Path("/verify"), guessed.Token, map[string]string{"code": sut.WrongCode(t, key, p.Now())})
	}
	locked := p.BeginSignIn(agent)
	sut.Expect(t, p.Do(http.MethodPost, locked.Path("/verify"), locked.Token, map[string]string{"code": sut.WrongCode(t, key, p.Now())}), http.StatusTooManyRequests, "locked")
	sut.Want[sut.SignIn](t, http.StatusOK, p.Do(http.MethodPost, locked.Path("/recover"), locked.Token, map[string]string{"recovery_code": recovery}))
	master := p.SignInTOTP(admin, adminKey)
	for range 21 {
		sut.Expect(t, p.Do(http.MethodPost, "/v1/admin/users/agent-demo/reset-second-factor", master, map[string]string{"reason": "lost the phone"}), http.StatusNoContent, "")
	}
}

// checkRule: Prometheus evaluates it, and each thing that it compares is there. An alert itself finds nothing, as it
// should.
func checkRule(t *testing.T, prom *prometheus, r rule, excused func(string) bool) {
	t.Helper()
	if _, err := prom.ask(r.Query); err != nil || r.Health == "err" {
		t.Errorf("rule %s: %v %s", r.Name, err, r.LastError)
	}
	for _, s := range selector.FindAllString(r.Query, -1) {
		if !excused(s) {
			finds(t, prom, "rule "+r.Name, s)
		}
	}
	if r.Type == "recording" && !excused(r.Query) {
		finds(t, prom, "rule "+r.Name, r.Name)
	}
}

func checkQuery(t *testing.T, prom *prometheus, q query, excused func(string) bool) {
	t.Helper()
	if excused(q.expr) {
		if _, err := prom.ask(q.expr); err != nil {
			t.Errorf("%s: %s: %v", q.where, q.expr, err)
		}
		return
	}
	finds(t, prom, q.where, q.expr)
}

// finds fails the test unless a query has a number soon: two scrapes make a rate.
func finds(t *testing.T, prom *prometheus, where, expr string) {
	t.Helper()
	var err error
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
		if _, err = prom.value(expr); err == nil {
			return
		}
		if time.Now().After(deadline) || strings.Contains(err.Error(), "parse error") {
			t.Errorf("%s: %s: %v", where, expr, err)
			return
		}
	}
}

// excuse says why a query may find nothing; "" if it may not.
func excuse(expr string, recorded map[string]string) string {
	for part, why := range quiet {
		if strings.Contains(expr, part) {
			return why
		}
	}
	for name, from := range recorded {
		if strings.Contains(expr, name) {
			if why := excuse(from, recorded); why != "" {
				return why
			}
		}
	}
	return ""
}
