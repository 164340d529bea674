package e2e

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// figures are the samples of a /metrics: by name and labels, as they are written but without the service.
type figures map[string]float64

var (
	sampleLine = regexp.MustCompile(`^(sallyport_[a-z0-9_]+)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z]+)="((?:[^"\\]|\\.)*)",?`)
)

func figuresOf(t *testing.T, text string) figures {
	t.Helper()
	out := figures{}
	for line := range strings.Lines(text) {
		m := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		var labels []string
		for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "service" {
				labels = append(labels, l[1]+"="+l[2])
			}
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		out[m[1]+"{"+strings.Join(labels, ",")+"}"] += value
	}
	return out
}

// moved says which figures must have grown, and by how much; how long a thing took is only counted.
func moved(t *testing.T, before, after figures, want map[string]float64) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		was, known := before[name]
		if !known {
			t.Errorf("%s does not exist before it happens", name)
		}
		if got := after[name] - was; got != want[name] {
			t.Errorf("%s grew by %v, want %v", name, got, want[name])
		}
	}
}

// TestTheFiguresTellTheWay: everything that happens to people on their way in is counted, once, for their population and
// factor.
func TestTheFiguresTellTheWay(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	start := figuresOf(t, p.Metrics())

	// A phone whose clock is right; a wrong code, and four more; a lock.
	key, _ := p.EnrolTOTP(agent)
	p.Advance(sut.Step)
	p.SignInTOTP(agent, key)
	s := p.BeginSignIn(agent)
	wrong := code(sut.WrongCode(t, key, p.Now()))
	for range 7 {
		p.Do("POST", s.Path("/verify"), s.Token, wrong)
	}
	moved(t, start, figuresOf(t, p.Metrics()), map[string]float64{
		`sallyport_gateway_enrolments_total{factor=totp,population=internal,step=prompted}`:          1,
		`sallyport_gateway_enrolments_total{factor=totp,population=internal,step=started}`:           1,
		`sallyport_gateway_enrolments_total{factor=totp,population=internal,step=enrolled}`:          1,
		`sallyport_gateway_enrolments_total{factor=totp,population=internal,step=skipped}`:           0,
		`sallyport_gateway_enrolments_total{factor=sms,population=organization,step=prompted}`:       0,
		`sallyport_gateway_challenges_total{factor=totp,population=internal,step=prompted}`:          2,
		`sallyport_gateway_challenges_total{factor=totp,population=internal,step=verified}`:          1,
		`sallyport_gateway_sign_ins_total{outcome=begun,population=internal}`:                        3,
		`sallyport_gateway_sign_ins_total{outcome=complete,population=internal}`:                     2,
		`sallyport_gateway_sign_ins_total{outcome=locked,population=internal}`:                       1,
		`sallyport_gateway_sign_in_seconds_count{factor=totp,population=internal}`:                   2,
		`sallyport_gateway_request_seconds_count{route=POST /v1/sign-ins/:id/verify,status=2xx}`:     1,
		`sallyport_gateway_request_seconds_count{route=POST /v1/sign-ins/:id/verify,status=4xx}`:     7,
		`sallyport_gateway_request_seconds_count{route=POST /v1/sign-ins/:id/enrollment,status=2xx}`: 1,
		`sallyport_gateway_request_seconds_count{route=GET /v1/admin/audit,status=2xx}`:              0,
		`sallyport_gateway_sessions{}`:                                         2,
		`sallyport_totp_verifications_total{result=accepted}`:                  1,
		`sallyport_totp_verifications_total{result=wrong}`:                     5,
		`sallyport_totp_verifications_total{result=locked}`:                    2,
		`sallyport_totp_verification_seconds_count{result=accepted}`:           1,
		`sallyport_totp_verification_seconds_count{result=wrong}`:              5,
		`sallyport_totp_locks_total{factor=totp,kind=delay}`:                   1,
		`sallyport_totp_locks_total{factor=totp,kind=disabled}`:                0,
		`sallyport_totp_clock_drift_seconds_count{}`:                           2,
		`sallyport_gateway_hash_wait_seconds_count{}`:                          3,
		`sallyport_policy_decisions_total{action=challenge,audience=internal}`: 2,
	})

	// A number, a sign-in with it, and one that is declined; a code that was never asked for again is spent once.
	before := figuresOf(t, p.Metrics())
	p.EnrolSMS(clerk, clerkPhone)
	p.SignInSMS(clerk, clerkPhone)
	skipped := p.BeginSignIn("temp@acme.test")
	stands(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", skipped.Path("/enrollment/skip"), skipped.Token, nil)), "complete")
	stands(t, p.BeginSignIn("temp@acme.test"), "complete") // remembered: asked for nothing
	sut.Expect(t, p.Do("POST", skipped.Path("/enrollment/skip"), skipped.Token, nil), http.StatusConflict, "conflict")
	sut.Expect(t, p.Do("GET", "/v1/nothing", "", nil), http.StatusNotFound, "not_found")
	want := map[string]float64{
		`sallyport_gateway_enrolments_total{factor=sms,population=organization,step=prompted}`: 2,
		`sallyport_gateway_enrolments_total{factor=sms,population=organization,step=started}`:  1,
		`sallyport_gateway_enrolments_total{factor=sms,population=organization,step=enrolled}`: 1,
		`sallyport_gateway_enrolments_total{factor=sms,population=organization,step=skipped}`:  1,
		`sallyport_gateway_challenges_total{factor=sms,population=organization,step=prompted}`: 1,
		`sallyport_gateway_challenges_total{factor=sms,population=organization,step=verified}`: 1,
		`sallyport_gateway_sign_ins_total{outcome=begun,population=organization}`:              4,
		`sallyport_gateway_sign_ins_total{outcome=complete,population=organization}`:           3,
		`sallyport_gateway_sign_ins_total{outcome=relogin,population=organization}`:            1,
		`sallyport_gateway_sign_in_seconds_count{factor=sms,population=organization}`:          1,
		`sallyport_gateway_sign_in_seconds_count{factor=none,population=organization}`:         2,
		`sallyport_gateway_sessions{}`:                                    3,
		`sallyport_gateway_request_seconds_count{route=other,status=4xx}`: 1,
		`sallyport_sms_verifications_total{result=right}`:                 2,
		`sallyport_sms_verification_seconds_count{result=right}`:          2,
		`sallyport_sms_challenges_opened_total{purpose=enrolment}`:        1,
		`sallyport_sms_challenges_opened_total{purpose=sign_in}`:          1,
		`sallyport_sms_attempts_total{class=sent}`:                        2,
		`sallyport_sms_challenges_ended_total{outcome=sent}`:              2,
		`sallyport_sms_handover_seconds_count{}`:                          2,
		`sallyport_sms_texts_total{country=US}`:                           2,
		`sallyport_sms_locks_total{kind=delay}`:                           0,
	}
	// What became of a text is written down after it was handed over, and its code may be typed before that.
	sut.Eventually(t, 20*time.Second, "what became of the texts is counted", func() bool {
		now := figuresOf(t, p.Metrics())
		for _, name := range []string{
			`sallyport_sms_attempts_total{class=sent}`, `sallyport_sms_challenges_ended_total{outcome=sent}`,
			`sallyport_sms_handover_seconds_count{}`, `sallyport_sms_texts_total{country=US}`,
		} {
			if now[name]-before[name] < want[name] {
				return false
			}
		}
		return true
	})
	moved(t, before, figuresOf(t, p.Metrics()), want)

	// An admin of the portal resets two people, one of an organization another; a recovery code does it by itself.
	before = figuresOf(t, p.Metrics())
	_, admin := p.EnrolTOTP("admin@demo.test")
	codes := sut.Want[struct{ Codes []string }](t, http.StatusOK, p.Do("POST", "/v1/account/recovery-codes", admin, nil)).Codes
	users := sut.Want[struct {
		Items []struct{ ID, Email string }
	}](t, http.StatusOK, p.Do("GET", "/v1/admin/users?limit=100", admin, nil)).Items
	reset := func(session, email string) {
		t.Helper()
		for _, u := range users {
			if u.Email == email {
				sut.Expect(t, p.Do("POST", "/v1/admin/users/"+u.ID+"/reset-second-factor", session, map[string]string{"reason": "lost phone"}), http.StatusNoContent, "")
			}
		}
	}
	reset(admin, agent)
	reset(admin, "second@demo.test")
	p.Advance(sut.Step)
	p.EnrolSMS("owner@acme.test", "+17015559444")
	reset(p.SignInSMS("owner@acme.test", "+17015559444"), clerk)
	recovering := p.BeginSignIn("admin@demo.test")
	stands(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", recovering.Path("/recover"), recovering.Token, map[string]string{"recovery_code": codes[0]})), "enroll")
	want = map[string]float64{
		`sallyport_policy_resets_total{by=master_admin}`:                                    2,
		`sallyport_policy_resets_total{by=organization_admin}`:                              1,
		`sallyport_policy_resets_total{by=recovery}`:                                        1,
		`sallyport_policy_resets_total{by=operator}`:                                        0,
		`sallyport_policy_resets_of_one_admin_bucket{le=1}`:                                 2, // the first of each admin
		`sallyport_policy_resets_of_one_admin_bucket{le=2}`:                                 3,
		`sallyport_policy_resets_of_one_admin_count{}`:                                      3,
		`sallyport_totp_recoveries_total{result=accepted}`:                                  1,
		`sallyport_gateway_enrolments_total{factor=totp,population=internal,step=prompted}`: 2, // the admin's, before and after
	}
	sut.Eventually(t, 20*time.Second, "the resets are counted", func() bool {
		now := figuresOf(t, p.Metrics())
		return now[`sallyport_policy_resets_of_one_admin_count{}`] == 3 && now[`sallyport_policy_resets_total{by=recovery}`] == 1
	})
	moved(t, before, figuresOf(t, p.Metrics()), want)

	// What runs, and what it waits for.
	for name, value := range map[string]float64{
		`sallyport_ready{check=nats}`: 4, `sallyport_ready{check=store}`: 4, `sallyport_ready{check=sessions}`: 1, `sallyport_ready{check=listener}`: 1, `sallyport_bus_connected{}`: 4,
		`sallyport_store_outbox_waiting{}`: 0, `sallyport_store_outbox_oldest_seconds{}`: 0,
	} {
		if got, known := start[name]; !known || got != value {
			t.Errorf("%s is %v (%v), want %v", name, got, known, value)
		}
	}
	closedSets(t, p.Metrics(), start)
}

// labelsOf are the words that each label may have.
func labelsOf() map[string][]string {
	words := strings.Fields
	out := map[string][]string{
		"service": sut.Services, "check": words("nats store sessions listener"), "side": words("client server"),
		"population": words("internal organization"), "audience": words("internal organization"),
		"factor": words("totp sms none recovery"), "kind": words("delay disabled"),
		"step": words("prompted started enrolled skipped verified"), "status": words("2xx 3xx 4xx 5xx"),
		"by":      words("master_admin organization_admin operator recovery person"),
		"action":  words("allow enroll challenge blocked recorded"),
		"command": words("find insert update delete findAndModify count createIndexes other"),
		"outcome": words("begun complete relogin locked ok error retried dead unacknowledged dropped sent failed expired superseded answered unanswered " +
			// of ways to a sign-in provider
			"cancelled disabled domain internal local other_subject refused signed_in stale stepped_up unavailable unknown untrusted unverified"),
		"result": words("accepted right wrong replayed locked malformed none repeated error expired refused opened disabled " +
			"account_limited network_limited unjudged resealed changed unopened taken"),
		"purpose": words("enrolment sign_in step_up"), "class": words("sent not_sent ambiguous permanent ours"),
		"country": words("US CA GB other"), "why": words("expired late"), "keyset": words("store bus"),
		"route": {"other"}, "subject": {}, "code": {"ok"}, "guard": {},
		"reason": words("carrier expired invalid_number opted_out stopped superseded unsendable"),
		"event":  words("bad_key begun turned entered late redeemed unproved no_answer"),
		"server": words("sallyport"), "stream": {}, // the one embedded server
	}
	for _, r := range gateway.Routes() {
		out["route"] = append(out["route"], r.Method+" "+r.Path)
	}
	for _, m := range contract.Messages() {
		out["subject"] = append(out["subject"], m.Subject)
	}
	for _, s := range contract.Streams() {
		out["stream"] = append(out["stream"], string(s.Name))
	}
	for _, b := range contract.Buckets() {
		out["stream"] = append(out["stream"], b.Name)
	}
	for _, c := range contract.Codes() {
		out["code"] = append(out["code"], string(c))
	}
	for _, g := range contract.Guards() {
		out["guard"] = append(out["guard"], string(g))
	}
	for _, a := range contract.AuditActions() {
		out["action"] = append(out["action"], string(a))
	}
	return out
}

// closedSets holds every label of a running product against the values that it may have, and the series against those
// that were there from the start.
func closedSets(t *testing.T, text string, start figures) {
	t.Helper()
	sets := labelsOf()
	unknown := map[string]bool{}
	for line := range strings.Lines(text) {
		m := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if l[1] == "le" || m[1] == "sallyport_build_info" && l[1] != "service" {
				continue // numbers, and what the build noted
			}
			if !slices.Contains(sets[l[1]], l[2]) {
				unknown[m[1]+" "+l[1]+" "+l[2]] = true
			}
		}
	}
	for _, u := range slices.Sorted(maps.Keys(unknown)) {
		t.Errorf("%q is in no closed set", u)
	}
	for _, name := range slices.Sorted(maps.Keys(figuresOf(t, text))) {
		if strings.HasPrefix(name, "sallyport_bus_call_duration_seconds") || strings.HasPrefix(name, "sallyport_bus_copy_current") {
			continue // made when they happen first, and when the server was asked first
		}
		if _, known := start[name]; !known {
			t.Errorf("%s was not there from the start", name)
		}
	}
}

// TestAScrapeAnswersInAnOutage: NATS and the document store hang, and every service still says within two seconds how it
// is; afterwards all is well by itself.
func TestAScrapeAnswersInAnOutage(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Env: sut.Fast(nil)})
	scrape := func(name string) (figures, time.Duration) {
		began := time.Now()
		text := s.Metrics(name)
		return figuresOf(t, text), time.Since(began)
	}
	ready := func(name string, want float64) bool {
		now, _ := scrape(name)
		return now[`sallyport_ready{check=nats}`] == want && now[`sallyport_ready{check=store}`] == want
	}
	for _, name := range sut.Services {
		if !ready(name, 1) {
			t.Errorf("%s is not ready", name)
		}
	}
	s.Infra.Suspend()
	for range 2 { // the second does not wait for the first
		for _, name := range sut.Services {
			now, took := scrape(name)
			if took > 2*time.Second+tolerance {
				t.Errorf("%s: /metrics took %v", name, took)
			}
			t.Logf("%s: /metrics took %v while nothing answers", name, took.Round(time.Millisecond))
			if now[`sallyport_ready{check=nats}`] != 0 || now[`sallyport_ready{check=store}`] != 0 {
				t.Errorf("%s says that it is ready", name)
			}
		}
	}
	s.Infra.Continue()
	for _, name := range sut.Services {
		sut.Eventually(t, 30*time.Second, name+" is ready again", func() bool { return ready(name, 1) })
	}
}
