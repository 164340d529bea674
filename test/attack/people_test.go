package attack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	otp "github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// person is somebody with an account, and what they hold.
type person struct {
	h                  *house
	user, email, phone string
	// key is that of their authenticator app.
	key string
	// last is the last step whose code they have typed.
	last int64
}

func (p *person) account() contract.Account {
	return contract.Account{Portal: gateway.DemoPortal, User: p.user}
}

// credentials is the body that begins a sign-in.
func (p *person) credentials() map[string]string { return sut.Credentials(p.email) }

// begin gives address and password.
func (p *person) begin(t testing.TB) sut.SignIn {
	t.Helper()
	return sut.Want[sut.SignIn](t, http.StatusCreated, p.h.patient(t, 10*time.Second, unavailable, "/v1/sign-ins", "", p.credentials()))
}

// patient posts what is not the point of a test, again while the answer is one that passes.
func (h *house) patient(t testing.TB, within time.Duration, passes, path, token string, body any) (a sut.Answer) {
	t.Helper()
	for begun := time.Now(); ; {
		if a = h.post(t, path, token, body); verdict(a) != passes || time.Since(begun) > within {
			return a
		}
	}
}

// risen posts what needs a step-up, in a session that has just had one: the other gateway hears of that a moment later.
func (h *house) risen(t testing.TB, path, session string) sut.Answer {
	t.Helper()
	return h.patient(t, 10*time.Second, "step_up_required", path, session, nil)
}

// beginMany begins as many sign-ins, one after the other: the crowd at the password is not the point.
func (p *person) beginMany(t testing.TB, n int) []sut.SignIn {
	t.Helper()
	var out []sut.SignIn
	for range n {
		out = append(out, p.begin(t))
	}
	return out
}

// appCode is what an app with this key shows so many steps from now.
func (h *house) appCode(t testing.TB, key string, steps int) string {
	code, err := otp.GenerateCode(key, h.Clock.Now().Add(time.Duration(steps)*sut.Step))
	if err != nil {
		t.Errorf("the app: %v", err)
	}
	return code
}

// code is what the person's app shows. Where they have typed that already, the clock goes on to the next step.
func (p *person) code(t testing.TB) string {
	t.Helper()
	step := func() int64 { return p.h.Clock.Now().Unix() / int64(sut.Step/time.Second) }
	for step() <= p.last {
		p.h.Clock.Add(sut.Step)
	}
	p.last = step()
	return p.h.appCode(t, p.key, 0)
}

// wrong are n codes that an app with this key does not show within minutes, all different.
func (h *house) wrong(t testing.TB, key string, n int) []string {
	t.Helper()
	near := map[string]bool{}
	for step := -20; step <= 20; step++ {
		near[h.appCode(t, key, step)] = true
	}
	var out []string
	for i := 0; len(out) < n; i++ {
		if c := fmt.Sprintf("%06d", (i*7919+111111)%1_000_000); !near[c] {
			out = append(out, c)
		}
	}
	return out
}

// enrol has the person set up what their account asks for, and returns the session that comes of it; none does of a
// telephone.
func (p *person) enrol(t testing.TB) string {
	t.Helper()
	s := p.begin(t)
	if s.Status != "enroll" {
		t.Fatalf("%s: sign-in is %q; want enroll", p.email, s.Status)
	}
	if s.Factor == "sms" {
		seen := len(p.h.inbox.Messages(p.phone))
		sut.Want[sut.Enrollment](t, http.StatusCreated, p.h.post(t, s.Path("/enrollment"), s.Token, texts(p.phone)))
		done := sut.Want[sut.SignIn](t, http.StatusOK, p.h.post(t, s.Path("/enrollment/confirm"), s.Token, typed(p.h.inbox.CodeAfter(p.phone, seen))))
		if done.Status != "relogin" || done.Session != nil {
			t.Fatalf("%s: after the number was confirmed the sign-in is %q", p.email, done.Status)
		}
		return ""
	}
	e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.h.post(t, s.Path("/enrollment"), s.Token, anApp))
	p.key = e.Key
	return sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, p.h.post(t, s.Path("/enrollment/confirm"), s.Token, typed(p.code(t)))))
}

// signIn goes through password and code, as the owner does, and returns the session's token.
func (p *person) signIn(t testing.TB) string {
	t.Helper()
	seen := 0
	if p.key == "" {
		seen = len(p.h.inbox.Messages(p.phone))
	}
	s := p.begin(t)
	if s.Status != "challenge" {
		t.Fatalf("%s: sign-in is %q; want challenge", p.email, s.Status)
	}
	var code string
	if p.key == "" {
		code = p.h.inbox.CodeAfter(p.phone, seen)
	} else {
		code = p.code(t)
	}
	return sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, p.h.post(t, s.Path("/verify"), s.Token, typed(code))))
}

func sessionOf(t testing.TB, s sut.SignIn) string {
	t.Helper()
	if s.Status != "complete" || s.Session == nil || s.Session.Token == "" {
		t.Fatalf("sign-in is %q; want complete with a session", s.Status)
	}
	return s.Session.Token
}

// recoveryCodes makes new ones, in a session whose proof is fresh.
func (p *person) recoveryCodes(t testing.TB, session string) []string {
	t.Helper()
	type codes struct {
		Codes []string `json:"codes"`
	}
	return sut.Want[codes](t, http.StatusOK, p.h.risen(t, "/v1/account/recovery-codes", session)).Codes
}

// The bodies of requests.
var anApp = map[string]string{"factor": "totp"}

func texts(phone string) any { return map[string]string{"factor": "sms", "phone": phone} }

func typed(code string) any { return map[string]string{"code": code} }

func recovery(code string) any { return map[string]string{"recovery_code": code} }

func proof(code string) any {
	return map[string]string{"password": sut.DemoPassword, "code": code}
}

// The verdicts on a code, by whatever door it came. Every other answer of the API is called by its code, and of a page by
// its status.
const (
	in          = "in"
	wrongCode   = "invalid_code"
	noCode      = "malformed" // it was not counted: it can be no code
	locked      = "locked"
	unavailable = "unavailable"
)

// verdict is what an answer says of a code.
func verdict(a sut.Answer) string {
	api := strings.HasPrefix(a.Path, "/v1/")
	switch p := a.Problem(); {
	case api && a.Status < 300:
		return in
	case api && p.Code == wrongCode && p.Reason == string(contract.CodeMalformed):
		return noCode
	case api && p.Code != "":
		return p.Code
	case handedOut(a) != "", a.Status == http.StatusOK:
		return in
	case a.Status == http.StatusUnprocessableEntity:
		return wrongCode
	case a.Status == http.StatusTooManyRequests:
		return locked
	case a.Status == http.StatusServiceUnavailable:
		return unavailable
	case a.Status == http.StatusGone:
		return "expired"
	}
	return fmt.Sprint(a.Status)
}

// handedOut is the session that an answer brings, in its body or as a cookie.
func handedOut(a sut.Answer) string {
	var s struct {
		Session *sut.SessionToken `json:"session"`
	}
	if strings.HasPrefix(a.Path, "/v1/") {
		if a.Decode(&s) == nil && s.Session != nil {
			return s.Session.Token
		}
		return ""
	}
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == "sallyport_session" {
			return c.Value
		}
	}
	return ""
}

// tally counts verdicts.
func tally(answers []sut.Answer) map[string]int {
	out := make(map[string]int)
	for _, a := range answers {
		out[verdict(a)]++
	}
	return out
}

// only fails the test where there is any verdict but these. That a busy machine has no time for an answer is allowed: it
// lets nobody in. Where it had none for most of them, the test has shown nothing.
func only(t testing.TB, what string, got map[string]int, may ...string) {
	t.Helper()
	for v, n := range got {
		if !oneOf(v, append(may, unavailable)...) {
			t.Errorf("%s: %d are %s; want %q only (%v)", what, n, v, may, got)
		}
	}
	answered(t, what, got)
}

// once fails the test unless exactly one of many got in; none may where an answer was lost for want of time.
func once(t testing.TB, what string, got map[string]int) {
	t.Helper()
	if got[in] > 1 || got[in] == 0 && got[unavailable] == 0 {
		t.Errorf("%s: %d got in, want one (%v)", what, got[in], got)
	}
	answered(t, what, got)
}

// answered fails the test where more than half of the answers were lost for want of time.
func answered(t testing.TB, what string, got map[string]int) {
	t.Helper()
	all := 0
	for _, n := range got {
		all += n
	}
	if got[unavailable] > all/2 {
		t.Errorf("%s: %d of %d met a product without time: nothing is shown (%v)", what, got[unavailable], all, got)
	}
}

// cheapHash is the password of every account that these tests add, hashed at the lowest cost.
var cheapHash = sync.OnceValue(func() string {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(sut.DemoPassword), salt, 1, 64, 1, 32)
	return fmt.Sprintf("$argon2id$v=%d$m=64,t=1,p=1$%s$%s", argon2.Version, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
})

// account is what the gateway keeps of a person, as far as a new one needs it.
type account struct {
	ID           string            `bson:"_id"`
	Portal       string            `bson:"portal"`
	User         string            `bson:"user"`
	Email        string            `bson:"email"`
	Name         string            `bson:"name"`
	Audience     contract.Audience `bson:"audience"`
	Organization string            `bson:"organization,omitempty"`
	Password     string            `bson:"password"`
	Population   string            `bson:"population"`
}

// claimOf finds an account by its address.
type claimOf struct {
	ID   string `bson:"_id"`
	User string `bson:"user"`
}

// add adds as many accounts.
func (h *house) add(t testing.TB, audience contract.Audience, n int) []*person {
	t.Helper()
	db := h.store(contract.AuthGateway)
	users, logins := store.Of[account](db, "users"), store.Of[claimOf](db, "logins")
	var out []*person
	for range n {
		name := fmt.Sprintf("p%d", h.names.Add(1))
		p := &person{h: h, user: name, email: name + "@attack.test", phone: fmt.Sprintf("+1701555%04d", 9000-h.names.Load())}
		a := account{
			ID: gateway.DemoPortal + "/" + name, Portal: gateway.DemoPortal, User: name, Email: p.email, Name: name, Audience: audience,
			Password: cheapHash(), Population: "internal",
		}
		if audience == contract.Organization {
			a.Organization, a.Population = "Acme", "organization"
		}
		if err := users.Insert(context.Background(), a); err != nil {
			t.Fatal(err)
		}
		if err := logins.Insert(context.Background(), claimOf{gateway.DemoPortal + "/" + p.email, name}); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// oneField is a form with one field.
func oneField(name, value string) url.Values { return url.Values{name: {value}} }
