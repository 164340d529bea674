package attack

import (
	_ "embed"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// declared is who may use each route, as declared: method, path, guard.
//
//go:embed testdata/routes.txt
var declared string

// routeTable is the declared table. It fails the test unless the product has exactly these routes with these guards: who
// adds a route says here who may use it.
func routeTable(t *testing.T) []gateway.Route {
	t.Helper()
	var want []gateway.Route
	for line := range strings.Lines(declared) {
		f := strings.Fields(line)
		want = append(want, gateway.Route{Method: f[0], Path: f[1], Guard: strings.Join(f[2:], " ")})
	}
	has := gateway.Routes()
	for _, r := range has {
		as := r
		if as.Method == http.MethodHead { // answered like GET
			as.Method = http.MethodGet
		}
		if !slices.Contains(want, as) {
			t.Errorf("%s %s with guard %q is not declared", r.Method, r.Path, r.Guard)
		}
	}
	for _, r := range want {
		if !slices.Contains(has, r) {
			t.Errorf("%s %s with guard %q is declared and is not there", r.Method, r.Path, r.Guard)
		}
	}
	return has
}

// What a guard may say.
const (
	admitted  = "in"
	noSession = "unauthenticated"
	notThis   = "forbidden"
	noStepUp  = "step_up_required"
)

// who is somebody who tries every route.
type who struct {
	name   string
	c      *sut.Client
	host   string
	bearer string // for the API
	cookie string // the session's, for pages
	signIn string // the sign-in's cookie, for pages
	says   map[string]string
}

// guards are the names of the route table, for who holds what lets them through.
const (
	gOpen, gSignIn, gSession, gAnyAdmin, gMaster, gStepUp = "open", "token of the sign-in", "session", "admin of the portal or of an organization", "Master Admin", "Master Admin with step-up"
	gDoor, gSignInOrKey, gKey                             = "open, or API key for the portal door", "token of the sign-in, or API key of its portal", "API key"
)

// answers says what somebody meets at the guards that ask for a session, from the weakest to the strongest.
func answers(session, anyAdmin, master, stepUp string) map[string]string {
	return map[string]string{
		gOpen: admitted, gDoor: admitted, gSignIn: noSession, gSignInOrKey: noSession, gKey: noSession,
		gSession: session, gAnyAdmin: anyAdmin, gMaster: master, gStepUp: stepUp,
	}
}

// keysAnswers says what an API key meets: it is at home at the portal door, and not even among the open where a token is
// looked at.
func keysAnswers(atHome bool) map[string]string {
	says := answers(noSession, noSession, noSession, noSession)
	if says[gDoor] = noSession; atHome {
		says[gDoor], says[gSignInOrKey], says[gKey] = admitted, admitted, admitted
	}
	return says
}

// ends are the routes that end the session they are called with: they come last.
var ends = []string{
	"POST /account/factors/sms/enable", "POST /v1/account/factors/sms/enable", "POST /account/sessions/end", "POST /sign-out", "DELETE /v1/session",
}

// endOthers are the routes that end a person's other sessions.
var endOthers = []string{"DELETE /v1/account/sessions", "POST /account/sessions/sign-out-others"}

// TestRule14EveryRouteIsGuarded walks the whole route table, HEAD included, as nobody, with a half-done sign-in of a Master
// Admin, as a user, as an organization's admin, as a Master Admin without and with a step-up, as the Master Admin of
// another portal, and with an API key of this portal and of another. Each is let through where the table says so, and nowhere else.
func TestRule14EveryRouteIsGuarded(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	table := routeTable(t)
	slices.SortStableFunc(table, func(a, b gateway.Route) int {
		return slices.Index(ends, a.Method+" "+a.Path) - slices.Index(ends, b.Method+" "+b.Path)
	})
	amirs, user := p.EnrolTOTP(amir)
	p.EnrolSMS(olga, olgaPhone)
	owner, owner2 := p.SignInSMS(olga, olgaPhone), ""
	key, master := p.EnrolTOTP(ada)
	south, other := openSouth(t, p)
	p.Advance(time.Minute) // so that Olga can be texted again
	owner2 = p.SignInSMS(olga, olgaPhone)
	user2, master2, strong, strong2 := p.SignInTOTP(amir, amirs), p.SignInTOTP(ada, key), p.SignInTOTP(ada, key), p.SignInTOTP(ada, key)
	p.StepUp(strong, key)
	p.StepUp(strong2, key)
	half, another := p.BeginSignIn(ada), p.BeginSignIn(ada)
	disguise := strings.Replace(half.Token, "si_", "se_", 1)
	signInsOwn := answers(noSession, noSession, noSession, noSession)
	signInsOwn[gSignIn], signInsOwn[gSignInOrKey] = admitted, admitted
	ourKey := strings.TrimSpace(p.Operate(0, "portal", "key", "create", "--portal=demo").Stdout())
	southKey := strings.TrimSpace(p.Operate(0, "portal", "key", "create", "--portal=south").Stdout())
	for _, w := range []who{
		{"an API key", p.Client, "", ourKey, ourKey, ourKey, keysAnswers(true)},
		{"another portal's API key", p.Client, "", southKey, southKey, southKey, keysAnswers(false)},
		{"nobody", p.Client, "", "", "", "", answers(noSession, noSession, noSession, noSession)},
		{"a half-done sign-in", p.Client, "", half.Token, half.Token, half.Token, signInsOwn},
		{"a half-done sign-in in disguise", p.Client, "", disguise, disguise, disguise, answers(noSession, noSession, noSession, noSession)},
		{"another sign-in", p.Client, "", another.Token, another.Token, "", answers(noSession, noSession, noSession, noSession)},
		{"another portal's Master Admin", p.Client, "", other, other, "", answers(noSession, noSession, noSession, noSession)},
		{"a Master Admin at another portal", south, southHost, master, master, "", answers(noSession, noSession, noSession, noSession)},
		{"a user", p.Client, "", user, user2, "", answers(admitted, notThis, notThis, notThis)},
		{"an organization's admin", p.Client, "", owner, owner2, "", answers(admitted, admitted, notThis, notThis)},
		{"a Master Admin", p.Client, "", master, master2, "", answers(admitted, admitted, admitted, noStepUp)},
		{"a Master Admin who stepped up", p.Client, "", strong, strong2, "", answers(admitted, admitted, admitted, admitted)},
	} {
		t.Run(w.name, func(t *testing.T) {
			for _, r := range table {
				if w.says[gSession] == admitted && slices.Contains(endOthers, r.Method+" "+r.Path) {
					continue // those who follow need their sessions
				}
				if strings.HasPrefix(r.Path, "/v1/") {
					w.tryAPI(t, r, half)
				} else {
					w.tryPage(t, p, r)
				}
			}
		})
	}
	sut.Want[sut.Session](t, http.StatusOK, south.Who(other)) // at home it was good all the time
}

// at is an address of a route. Nobody has the ids in it, but for the sign-in's.
func at(r gateway.Route, signIn string) string {
	return strings.NewReplacer(
		"/sign-ins/:id", "/sign-ins/"+signIn, ":id/:ask", "nobody/reset", ":id", "nobody", ":factor", "fax", ":token", "x.y", ":name", "none.css", ":ticket", "none", ":provider", "none",
	).Replace(r.Path)
}

// routeBodies are for the routes that look at them before they look at the token: it is in the body's own language that the
// refusal must come.
var routeBodies = map[string]any{
	"POST /v1/sign-ins/:id/enrollment":         map[string]string{"factor": "totp"},
	"POST /v1/sign-ins/:id/enrollment/confirm": map[string]string{"code": "no code"},
	"POST /v1/sign-ins/:id/verify":             map[string]string{"code": "no code"},
	"POST /v1/sign-ins/:id/recover":            map[string]string{"recovery_code": "no code"},
}

// tryAPI uses a route of the JSON API, and sees whether the guard let it through. An empty body does nothing anywhere.
func (w who) tryAPI(t *testing.T, r gateway.Route, half sut.SignIn) {
	t.Helper()
	var body any
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		body = struct{}{}
	}
	if valid, ok := routeBodies[r.Method+" "+r.Path]; ok {
		body = valid
	}
	path := at(r, half.ID)
	a := w.c.Do(r.Method, path, w.bearer, body)
	want, got := w.says[r.Guard], a.Problem().Code
	if r.Method == http.MethodHead {
		got = map[int]string{http.StatusUnauthorized: noSession, http.StatusForbidden: notThis}[a.Status]
	}
	switch {
	case want == admitted:
		// What comes after the guard may say no; it says so in other words.
		if got == noSession || got == notThis && r.Guard != gSession || a.Status >= 500 {
			t.Errorf("%s; the guard lets them in", a)
		}
	case got != want:
		t.Errorf("%s; want %s", a, want)
	}
}

// tryPage uses a page, with the token of forms.
func (w who) tryPage(t *testing.T, p *sut.Product, r gateway.Route) {
	t.Helper()
	if w.says[gSession] != admitted && r.Method+" "+r.Path == "POST /sign-out" {
		return // it ends what a token is for, wherever: who holds it may
	}
	g := newGuest(t, p)
	g.host, g.cookies["sallyport_form"] = w.host, "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	if w.cookie != "" {
		g.cookies["sallyport_session"] = w.cookie
	}
	if w.signIn != "" {
		g.cookies["sallyport_sign_in"] = w.signIn
	}
	kind, body := "", ""
	if r.Method == http.MethodPost {
		kind, body = formType, g.form()
	}
	a := g.do(r.Method, at(r, ""), kind, body)
	got, to := admitted, a.Header.Get("Location")
	path, _, _ := strings.Cut(to, "?")
	switch {
	case path == "/sign-in" && r.Path != "/sign-out" && r.Path != "/sign-in/cancel", r.Path == "/sign-in/status" && strings.Contains(string(a.Body), `"expired":true`):
		got = noSession
	case a.Status == http.StatusForbidden:
		got = notThis
	}
	want := w.says[r.Guard]
	switch r.Path {
	case "/sign-in/cancel":
		want = admitted // it forgets a cookie, and asks nobody
	case "/sign-in/callback":
		got = admitted // nobody has set out: they begin again
	case "/sign-in/back":
		want = noSession // a sign-in that no portal began has nowhere to go back to
	case "/sign-in/status":
		if r.Method == http.MethodHead {
			return // says nothing
		}
	}
	// Who is asked for their proof, or told why not, is through the guard; the others are told who is an admin.
	explained := want == admitted && got == notThis && r.Guard == gSession
	if got != want && !explained || a.Status >= 500 || a.Status == http.StatusMethodNotAllowed {
		t.Errorf("%s %s: status %d, to %q: %s; want %s", r.Method, at(r, ""), a.Status, to, got, want)
	}
	if got == noSession && strings.Contains(string(a.Body), "<main") {
		t.Errorf("%s %s: a page comes with the refusal", r.Method, at(r, ""))
	}
}
