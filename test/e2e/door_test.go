package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// proof is who came through the portal door.
type proof struct {
	ID       string    `json:"id"`
	Subject  string    `json:"subject"`
	User     sut.User  `json:"user"`
	AMR      []string  `json:"amr"`
	AuthTime time.Time `json:"auth_time"`
	State    string    `json:"state"`
}

// doorSignIn is a sign-in as the portal that began it sees it.
type doorSignIn struct {
	sut.SignIn
	URL        string    `json:"url"`
	RedeemedAt time.Time `json:"redeemed_at"`
}

// apiKey makes an API key of a portal.
func apiKey(p *sut.Product, portal string, more ...string) string {
	return strings.TrimSpace(p.Operate(0, append([]string{"portal", "key", "create", "--portal=" + portal}, more...)...).Stdout())
}

// staff is an internal user as a portal describes them.
func staff(id, email string) map[string]any {
	return map[string]any{"id": id, "email": email, "name": "Dana Miller", "audience": "internal"}
}

// sends begins a sign-in at the door.
func sends(t *testing.T, p *sut.Product, key string, user map[string]any, returnURL string) doorSignIn {
	t.Helper()
	body := map[string]any{"user": user}
	if returnURL != "" {
		body["return_url"], body["state"] = returnURL, "a b&c"
	}
	return sut.Want[doorSignIn](t, http.StatusCreated, p.Do("POST", "/v1/sign-ins", key, body))
}

// redeem takes a sign-in as proof, with what the browser brought where one was sent.
func redeem(p *sut.Product, key, id string, brought ...string) sut.Answer {
	var body any
	for _, word := range brought {
		body = code(word)
	}
	return p.Do("POST", "/v1/sign-ins/"+id+"/redeem", key, body)
}

// brings is the word in the address that leads home.
func (v *visitor) brings() string {
	v.t.Helper()
	m := regexp.MustCompile(`code=([0-9a-f]{32})`).FindStringSubmatch(v.page.body)
	if m == nil {
		v.t.Fatalf("the page brings nothing home:\n%s", v.page.body)
	}
	return m[1]
}

// waiting is a portal that only waits for people to come back: what they brought, in order.
func waiting(t *testing.T) (base string, came func() url.Values) {
	t.Helper()
	var mu sync.Mutex
	var all []url.Values
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r.URL.Query())
	}))
	t.Cleanup(s.Close)
	return s.URL, func() url.Values {
		mu.Lock()
		defer mu.Unlock()
		if len(all) == 0 {
			t.Fatal("nobody came back")
		}
		return all[len(all)-1]
	}
}

// through opens the url of a sign-in and presses the button.
func (v *visitor) through(s doorSignIn) {
	v.t.Helper()
	v.get(strings.TrimPrefix(s.URL, v.base))
	v.says("One more step")
	v.post("/sign-in/door", form{"ticket": s.URL[strings.LastIndex(s.URL, "/")+1:]})
}

// home follows the way back to the portal.
func (v *visitor) home(words string) {
	v.t.Helper()
	v.at("/sign-in/back")
	v.says(words)
	_, to, _ := strings.Cut(v.page.header.Get("Refresh"), "url=")
	gate := v.base
	v.base = "" // the address is whole
	v.get(to)
	v.base = gate
}

func TestDoorStoryOfAnAuthenticator(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo", "--name=client portal")
	if !strings.HasPrefix(key, "sp_") {
		t.Fatalf("the key is %d characters and does not begin with sp_", len(key))
	}
	base, came := waiting(t)
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", base+"/after")

	s := sends(t, p, key, staff("4711", "dana@northwind.test"), base+"/after")
	if s.Status != "enroll" || s.Factor != "totp" || s.Session != nil || !strings.HasPrefix(s.URL, p.Base+"/sign-in/door/dt_"+s.ID+"_") || strings.Contains(s.URL, s.Token) {
		t.Fatalf("the door answers %+v", s)
	}
	sut.Expect(t, redeem(p, key, s.ID), http.StatusForbidden, "forbidden")
	v := newVisitor(t, p)
	v.through(s)
	sut.Expect(t, p.Do("GET", s.Path(""), s.Token, nil), http.StatusUnauthorized, "unauthenticated") // the browser has it now
	secret := v.setUp(p)
	if !strings.Contains(v.page.body, base+"/after?sign_in="+s.ID) {
		t.Errorf("the page does not lead back to the portal:\n%s", v.page.body)
	}
	word := v.brings()
	v.get("/account")
	v.says("dana@northwind.test")
	if at := sut.Want[doorSignIn](t, 200, p.Do("GET", s.Path(""), key, nil)); at.Status != "complete" || !at.RedeemedAt.IsZero() || at.Session != nil {
		t.Errorf("the portal sees %+v", at)
	}
	sut.Expect(t, redeem(p, key, s.ID), http.StatusForbidden, "forbidden")
	first := sut.Want[proof](t, 200, redeem(p, key, s.ID, word))
	if first.Subject != "4711" || first.User.Email != "dana@northwind.test" || first.State != "a b&c" || first.ID != s.ID || first.User.MasterAdmin {
		t.Errorf("the proof is %+v", first)
	}
	equal(t, "amr", first.AMR, []string{"portal", "otp"})
	near(t, "auth_time", first.AuthTime, p.Now(), time.Minute)
	sut.Expect(t, redeem(p, key, s.ID, word), http.StatusConflict, "conflict")
	if at := sut.Want[doorSignIn](t, 200, p.Do("GET", s.Path(""), key, nil)); at.RedeemedAt.IsZero() {
		t.Error("a redeemed sign-in does not say so")
	}

	// Again, with the name and the address that the portal knows by now: the same account, asked for a code.
	again := staff("4711", "dana.reyes@northwind.test")
	again["name"], again["email_verified"] = "Dana Reyes", true
	s = sends(t, p, key, again, base+"/after")
	if s.Status != "challenge" {
		t.Fatalf("the second time the door answers %+v", s)
	}
	v = newVisitor(t, p)
	v.through(s)
	v.at("/sign-in/code")
	v.post("/sign-in/code", form{"code": p.Code(secret)})
	v.home("You are signed in")
	q := came()
	if q.Get("sign_in") != s.ID || q.Get("state") != "a b&c" || len(q) != 3 {
		t.Errorf("back came %v", q)
	}
	second := sut.Want[proof](t, 200, redeem(p, key, s.ID, q.Get("code")))
	if second.User.ID != first.User.ID || second.User.Email != "dana.reyes@northwind.test" || second.User.Name != "Dana Reyes" {
		t.Errorf("the second time it is %+v, the first time %+v", second.User, first.User)
	}
	v.get("/account")
	v.says("your portal's sign-in", "dana.reyes@northwind.test")
	// A door person has just proved both factors: no step-up is needed, and there is no password for one.
	session := v.cookieValue("sallyport_session")
	sut.Want[map[string]any](t, 200, p.Do("POST", "/v1/account/recovery-codes", session, nil))
	p.Advance(6 * time.Minute)
	sut.Expect(t, p.Do("POST", "/v1/account/recovery-codes", session, nil), http.StatusForbidden, "step_up_required")
	sut.Expect(t, p.Do("POST", "/v1/session/step-up", session, map[string]string{"password": "x", "code": "123456"}), http.StatusForbidden, "step_up_required")

	// In time, or not at all.
	s = sends(t, p, key, again, "")
	p.Verify(s.SignIn, p.Code(secret))
	p.Advance(11 * time.Minute)
	sut.Expect(t, redeem(p, key, s.ID), http.StatusGone, "expired")

	for _, key := range listed(t, p) {
		if key.Name != "client portal" || key.UsedAt.IsZero() || !key.RevokedAt.IsZero() {
			t.Errorf("the list has %+v", key)
		}
	}
}

type keyLine struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	App       string    `json:"app"`
	UsedAt    time.Time `json:"used_at"`
	RevokedAt time.Time `json:"revoked_at"`
}

func listed(t *testing.T, p *sut.Product) []keyLine {
	t.Helper()
	var out []keyLine
	if err := json.Unmarshal([]byte(p.Operate(0, "portal", "key", "list", "--portal=demo", "--json").Stdout()), &out); err != nil || len(out) == 0 {
		t.Fatalf("%v: %v", out, err)
	}
	return out
}

func TestDoorStoryOfATextMessage(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo")
	base, came := waiting(t)
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", base+"/after?tab=1")
	contact := map[string]any{"id": "c1", "email": "rosa@initech.test", "audience": "organization", "organization": "Initech"}

	s := sends(t, p, key, contact, base+"/after?tab=1")
	v := newVisitor(t, p)
	v.through(s)
	v.at("/sign-in/enroll")
	v.post("/sign-in/enroll/start", nil)
	v.post("/sign-in/enroll/phone", form{"phone": clerkPhone})
	v.at("/sign-in/code")
	v.post("/sign-in/enroll/confirm", form{"code": p.CodeAfter(clerkPhone, 0)})
	v.home("Please sign in again") // B21: the password is the portal's
	if q := came(); q.Get("sign_in") != s.ID || q.Get("status") != "relogin" || q.Get("tab") != "1" || q.Has("code") {
		t.Errorf("back came %v", q)
	}
	sut.Expect(t, redeem(p, key, s.ID), http.StatusForbidden, "forbidden")

	// The text goes out when the browser is there, not before.
	p.Advance(time.Minute)
	seen := len(p.Messages(clerkPhone))
	s = sends(t, p, key, contact, base+"/after?tab=1")
	if s.Status != "challenge" || s.Factor != "sms" || len(p.Messages(clerkPhone)) != seen {
		t.Fatalf("the door answers %+v", s)
	}
	v = newVisitor(t, p)
	v.through(s)
	v.at("/sign-in/code")
	v.post("/sign-in/code", form{"code": p.CodeAfter(clerkPhone, seen)})
	v.home("You are signed in")
	got := sut.Want[proof](t, 200, redeem(p, key, s.ID, came().Get("code")))
	equal(t, "amr", got.AMR, []string{"portal", "sms"})
	if got.User.Organization != "Initech" || got.User.Name != "rosa" {
		t.Errorf("the proof is %+v", got)
	}

	// Who turns back, and who takes too long, comes back too.
	s = sends(t, p, key, contact, base+"/after?tab=1")
	v = newVisitor(t, p)
	v.through(s)
	v.at("/sign-in/code")
	v.post("/sign-in/cancel", nil)
	v.home("Please sign in again")
	if q := came(); q.Get("status") != "cancelled" {
		t.Errorf("back came %v", q)
	}
	s = sends(t, p, key, contact, base+"/after?tab=1")
	v = newVisitor(t, p)
	v.through(s)
	v.at("/sign-in/code")
	p.Advance(11 * time.Minute)
	v.get("/sign-in/code")
	v.home("Please sign in again")
	if q := came(); q.Get("status") != "expired" {
		t.Errorf("back came %v", q)
	}
}

// TestDoorOfAPortalThatDrawsThePages uses the token in the place of a browser, and policy that asks for nothing.
func TestDoorOfAPortalThatDrawsThePages(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo")
	base, came := waiting(t)
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", base)

	s := sends(t, p, key, staff("1", "dana@northwind.test"), "")
	if s.URL != "" || s.Token == "" {
		t.Fatalf("the door answers %+v", s)
	}
	e := enrolment(t, p, s.SignIn)
	done := sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	stands(t, done, "complete")
	equal(t, "amr", who(t, p, done.Session.Token).AMR, []string{"portal", "otp"})
	if got := sut.Want[proof](t, 200, redeem(p, key, s.ID)); got.Subject != "1" {
		t.Errorf("the proof is %+v", got)
	}

	// Who skipped is let straight through: the session is the browser's, once.
	contact := map[string]any{"email": "rosa@initech.test", "audience": "organization", "organization": "Initech", "name": "Rosa"}
	s = sends(t, p, key, contact, "")
	stands(t, sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil)), "complete")
	s = sends(t, p, key, contact, base)
	if s.Status != "complete" || s.Session != nil {
		t.Fatalf("the door answers %+v", s)
	}
	v := newVisitor(t, p)
	v.through(s)
	session := v.cookieValue("sallyport_session")
	equal(t, "amr", who(t, p, session).AMR, []string{"portal"})
	v.home("You are signed in")
	if q := came(); q.Get("sign_in") != s.ID {
		t.Errorf("back came %v", q)
	}
	if got := sut.Want[proof](t, 200, redeem(p, key, s.ID, came().Get("code"))); got.Subject != "rosa@initech.test" || len(got.AMR) != 1 {
		t.Errorf("the proof is %+v", got)
	}
	// One that the token has completed opens no second session for a ticket.
	s = sends(t, p, key, staff("2", "eve@northwind.test"), base)
	e = enrolment(t, p, s.SignIn)
	sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	v = newVisitor(t, p)
	v.through(s)
	if v.cookieValue("sallyport_session") != "" {
		t.Error("one sign-in made two sessions")
	}
}

// TestDoorThePortalOfTheDocs runs the program that docs/portal.md shows: its person signs in there, gives a code here, and
// is let in there.
func TestDoorThePortalOfTheDocs(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	portal := p.DocsPortal()
	v := newVisitor(t, p)
	login := func(v *visitor, password string) {
		v.base = portal
		v.post("/login", form{"email": "dana@example.com", "password": password})
		v.base = p.Base
	}
	login(v, "guess")
	if v.page.status != http.StatusUnauthorized {
		t.Fatalf("a wrong password: %d", v.page.status)
	}
	login(v, "mellon")
	v.says("One more step")
	v.post("/sign-in/door", form{"ticket": v.page.path[strings.LastIndex(v.page.path, "/")+1:]})
	secret := v.setUp(p)
	back := regexp.MustCompile(`href="(http[^"]+/after\?sign_in=\w+&amp;code=\w+[^"]*)"`).FindStringSubmatch(v.page.body)
	if back == nil {
		t.Fatalf("no way back to the portal:\n%s", v.page.body)
	}
	home := strings.ReplaceAll(back[1], "&amp;", "&")
	// Somebody else's browser is not let in with this address, and the second time nobody's is.
	other := newVisitor(t, p)
	other.base = ""
	if other.get(home); other.page.status != http.StatusForbidden {
		t.Errorf("another browser: %d %s", other.page.status, other.text())
	}
	v.base = ""
	v.get(home)
	v.says("Welcome, 4711. You proved it with [portal otp].")
	v.get(home)
	if strings.Contains(v.text(), "Welcome") {
		t.Error("the same sign-in lets somebody in twice")
	}

	v = newVisitor(t, p)
	login(v, "mellon")
	v.post("/sign-in/door", form{"ticket": v.page.path[strings.LastIndex(v.page.path, "/")+1:]})
	v.at("/sign-in/code")
	v.post("/sign-in/code", form{"code": p.Code(secret)})
	v.home("You are signed in")
	v.says("Welcome, 4711.")
}
