package attack

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/test/sut"
)

// entry is an entry of the audit log.
type entry struct {
	Seq                         int64
	Action, Actor, User, Reason string
	Request                     string `json:"request_id"`
}

// deed is a request that changes something, made while the log is out of reach, and made again when it is back.
type deed struct {
	what, method, path, token string
	body                      any
	again                     int // the status that it has then
	entries                   []expected

	first sut.Answer
}

// expected is what the log has of a deed. Without a user it is about whoever came of it.
type expected struct {
	action            contract.AuditAction
	actor, user, why  string
	ofFirst, ofRepeat bool
}

// TestI7WithoutTheAuditLogNothingIsAcknowledged has an admin, a user and the portal change what matters while policy-svc
// is gone, and while it answers but cannot write its log. Nobody is told that it was done. When the log is back, whatever
// took effect is in it, once, with who, whom, why and the request; and what is asked again works, and is in the log when
// it is answered.
func TestI7WithoutTheAuditLogNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	h := openHouse(t, map[string]string{"PASSWORD_LIMIT_ACCOUNT": "10/10m"})
	admin := &person{h: h, user: adaID, email: ada}
	master := admin.enrol(t)
	key := h.portalKey(t)
	for _, out := range []struct {
		what, code string
		lose       func() (back func())
	}{
		{"policy-svc is gone", unavailable, func() func() {
			h.stop("policy")
			return func() { h.start("policy") }
		}},
		{"the log cannot be written", "internal", func() func() { return h.mute(t, master) }},
	} {
		deeds := h.deeds(t, admin, master, key)
		h.known(t, master)
		back := out.lose()
		for i := range deeds {
			d := &deeds[i]
			d.first = h.call(t, d.method, d.path, d.token, d.body)
			if code := d.first.Problem().Code; !oneOf(code, unavailable, out.code) {
				t.Errorf("%s: %s: %s; want %s", out.what, d.what, d.first, out.code)
			}
		}
		back()
		for _, d := range deeds {
			d.inTheLog(t, h, master, out.what)
		}
	}
}

// deeds are one of each kind, on people of their own; key is the portal's.
func (h *house) deeds(t *testing.T, admin *person, master string, key portalKey) []deed {
	t.Helper()
	newcomer, visitor := fmt.Sprintf("n%d@attack.test", h.names.Add(1)), fmt.Sprintf("v%d@attack.test", h.names.Add(1))
	people := h.add(t, contract.Internal, 6)
	married, forgetful, away, locked, left, own := people[0], people[1], people[2], people[3], people[4], people[5]
	owns := own.enrol(t)
	h.known(t, owns)
	locked.enrol(t)
	locked.lock(t)
	of := func(p *person) string { return "/v1/admin/users/" + p.user }
	because := func(why string) string { return "?reason=" + url.QueryEscape(why) }
	return []deed{
		{
			what: "a new account", method: "POST", path: "/v1/admin/users", token: master, again: http.StatusConflict, // it is there
			body:    map[string]string{"email": newcomer, "name": "Nora Comer", "audience": "internal", "reason": "starts on Monday"},
			entries: []expected{{contract.AuditUserCreated, admin.user, "", "starts on Monday", true, false}},
		},
		{
			what: "whom the portal sends for the first time", method: "POST", path: "/v1/sign-ins", token: key.word, again: http.StatusCreated,
			body:    map[string]any{"user": map[string]string{"id": visitor, "email": visitor, "audience": "internal"}},
			entries: []expected{{contract.AuditUserCreated, "api-key:" + key.id, "", "first sign-in through the portal", true, false}},
		},
		{
			what: "a change of an account", method: "PATCH", path: of(married), token: master, again: http.StatusOK,
			body:    map[string]string{"name": "Nora Newname", "reason": "she married"},
			entries: []expected{{contract.AuditUserChanged, admin.user, married.user, "she married", true, false}}, // again it changes nothing
		},
		{
			what: "a password link", method: "POST", path: of(forgetful) + "/password-link", token: master, again: http.StatusCreated,
			entries: []expected{{contract.AuditPasswordLink, admin.user, forgetful.user, "", true, true}},
		},
		{
			what: "the end of sessions", method: "DELETE", path: of(away) + "/sessions" + because("lost a laptop"), token: master, again: http.StatusNoContent,
			entries: []expected{{contract.AuditSessionsEnded, admin.user, away.user, "lost a laptop", true, true}},
		},
		{
			what: "an unlock", method: "POST", path: of(locked) + "/unlock", token: master, again: http.StatusNoContent,
			body: map[string]string{"reason": "he called"},
			entries: []expected{
				{contract.AuditFactorUnlocked, admin.user, locked.user, "he called", true, false},
				{contract.AuditPasswordGuesses, admin.user, locked.user, "he called", false, true}, // which waits for its entry
			},
		},
		{
			what: "a deletion", method: "DELETE", path: of(left) + because("left us"), token: master, again: http.StatusNoContent,
			entries: []expected{{contract.AuditUserDeleted, admin.user, left.user, "left us", true, true}},
		},
		{
			what: "new recovery codes", method: "POST", path: "/v1/account/recovery-codes", token: owns, again: http.StatusOK,
			entries: []expected{{contract.AuditRecoveryCodes, own.user, own.user, "", false, true}}, // which wait for theirs
		},
	}
}

// inTheLog does it again, and compares what the log has of both.
func (d deed) inTheLog(t *testing.T, h *house, master, lost string) {
	t.Helper()
	what := lost + ": " + d.what
	again := h.call(t, d.method, d.path, d.token, d.body)
	asked := map[string]bool{d.first.Header.Get("X-Request-Id"): true, again.Header.Get("X-Request-Id"): true}
	for begun := time.Now(); again.Is(http.StatusServiceUnavailable, unavailable) && time.Since(begun) < 10*time.Second; {
		again = h.call(t, d.method, d.path, d.token, d.body)
		asked[again.Header.Get("X-Request-Id")] = true
	}
	if again.Status != d.again {
		t.Errorf("%s, again: %s; want %d", what, again, d.again)
	}
	for _, want := range d.entries {
		name := fmt.Sprintf("%s: %s", what, want.action)
		first := d.first.Header.Get("X-Request-Id")
		read := func() (ofFirst, ofRepeat int) {
			byRequest := map[string]int{}
			for _, e := range h.log(t, master, want.user, want.action) {
				if want.user == "" && !asked[e.Request] {
					continue
				}
				same := e.Actor == want.actor && e.User != "" && (e.User == want.user || want.user == "") && e.Reason == want.why
				if byRequest[e.Request]++; !asked[e.Request] || byRequest[e.Request] > 1 || !same {
					t.Errorf("%s: the log has %+v, of its request number %d; want one of %s, who said %q", name, e, byRequest[e.Request], want.actor, want.why)
				}
			}
			ofFirst = byRequest[first]
			delete(byRequest, first)
			return ofFirst, len(byRequest)
		}
		if _, n := read(); want.ofRepeat != (n > 0) {
			t.Errorf("%s: when it was answered the log had %d entries of it", name, n)
		}
		if want.ofFirst {
			// At once, but for what a busy machine leaves to the reconciler, or to the next delivery.
			sut.Eventually(t, time.Minute, name+" of the request that was not acknowledged", func() bool { n, _ := read(); return n == 1 })
		} else if n, _ := read(); n != 0 {
			t.Errorf("%s: the log has %d entries of what was not done", name, n)
		}
	}
}

// portalKey is an API key, and the id by which the log knows it.
type portalKey struct{ id, word string }

func (h *house) portalKey(t *testing.T) portalKey {
	t.Helper()
	office, err := gateway.OpenOffice(t.Context(), h.store(contract.AuthGateway), h.Clock, h.bases[0])
	if err != nil {
		t.Fatal(err)
	}
	word, made, err := office.CreateAPIKey(t.Context(), gateway.DemoPortal, "portal", "portal", "test")
	if err != nil {
		t.Fatal(err)
	}
	return portalKey{made.Detail["id"], word.Reveal()}
}

// log is what an admin reads of a kind about somebody.
func (h *house) log(t testing.TB, master, user string, action contract.AuditAction) []entry {
	t.Helper()
	query := url.Values{"action": {string(action)}}
	if user != "" {
		query.Set("user", user)
	}
	return sut.Want[struct{ Items []entry }](t, http.StatusOK, h.call(t, http.MethodGet, "/v1/admin/audit?"+query.Encode(), master, nil)).Items
}

// known waits until every gateway knows a session.
func (h *house) known(t *testing.T, session string) {
	t.Helper()
	for _, door := range h.doors {
		servicetest.Eventually(t, "every gateway knows the session", func() bool { return door.Who(session).Status == http.StatusOK })
	}
}

// lock types a wrong password and so many wrong codes that no more are taken.
func (p *person) lock(t *testing.T) {
	t.Helper()
	s := p.begin(t)
	sut.Expect(t, p.h.post(t, "/v1/sign-ins", "", map[string]string{"email": p.email, "password": "a guess"}), http.StatusUnauthorized, "invalid_credentials")
	for _, code := range p.h.wrong(t, p.key, 20) {
		if verdict(p.h.post(t, s.Path("/verify"), s.Token, typed(code))) == locked {
			return
		}
	}
	t.Fatal("twenty wrong codes lock nothing")
}

// mute takes the next place in the log with what is no entry, until it is taken away.
func (h *house) mute(t *testing.T, master string) (back func()) {
	t.Helper()
	entries := h.rows(contract.Policy, "audit_entries")
	place := ""
	servicetest.Eventually(t, "the next place is free", func() bool { // unless something is told at this moment
		newest := sut.Want[struct{ Items []entry }](t, http.StatusOK, h.call(t, http.MethodGet, "/v1/admin/audit?limit=1", master, nil)).Items[0]
		place = fmt.Sprintf("%s/%014d", gateway.DemoPortal, newest.Seq+1)
		return entries.Insert(t.Context(), row{ID: place, Rest: map[string]any{"seq": "not a number"}}) == nil
	})
	return func() {
		if err := entries.Delete(t.Context(), place); err != nil {
			t.Error(err)
		}
	}
}
