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
	arrives                   string // the address of who comes from the provider instead
	again                     int    // the status that it has then
	entries                   []expected

	first sut.Answer
}

// expected is what the log has of a deed. Without a user it is about whoever came of it, who also did it if nobody is
// named.
type expected struct {
	action            contract.AuditAction
	actor, user, why  string
	ofFirst, ofRepeat bool
}

// try does it.
func (d deed) try(t *testing.T, h *house, v *voucher) sut.Answer {
	t.Helper()
	if d.arrives != "" {
		return v.arrives(t, d.arrives)
	}
	return h.call(t, d.method, d.path, d.token, d.body)
}

// TestI7WithoutTheAuditLogNothingIsAcknowledged has an admin, a user, the portal and a sign-in provider change what matters while policy-svc
// is gone, and while it answers but cannot write its log. Nobody is told that it was done. When the log is back, whatever
// took effect is in it, once, with who, whom, why and the request; and what is asked again works, and is in the log when
// it is answered.
func TestI7WithoutTheAuditLogNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	h := openHouse(t, map[string]string{"PASSWORD_LIMIT_ACCOUNT": "10/10m"})
	v := h.trust(t)
	admin := &person{h: h, user: adaID, email: ada}
	master := admin.enrol(t)
	key := h.portalKey(t)
	for _, out := range []struct {
		what, code, page string
		lose             func() (back func())
	}{
		{"policy-svc is gone", unavailable, unavailable, func() func() {
			h.stop("policy")
			return func() { h.start("policy") }
		}},
		{"the log cannot be written", "internal", "500", func() func() { return h.mute(t, master) }},
	} {
		deeds := h.deeds(t, admin, master, key)
		h.known(t, master)
		back := out.lose()
		for i := range deeds {
			d := &deeds[i]
			d.first = d.try(t, h, v)
			if !oneOf(verdict(d.first), unavailable, out.code, out.page) {
				t.Errorf("%s: %s: %s; want %s", out.what, d.what, d.first, out.code)
			}
		}
		back()
		for _, d := range deeds {
			d.inTheLog(t, h, v, master, out.what)
		}
	}
}

// deeds are one of each kind, on people of their own; key is the portal's.
func (h *house) deeds(t *testing.T, admin *person, master string, key portalKey) []deed {
	t.Helper()
	named := func(letter string) string { return fmt.Sprintf("%s%d@attack.test", letter, h.names.Add(1)) }
	newcomer, visitor, vouched, awaited := named("n"), named("v"), named("f"), named("e")
	awaitedID := sut.Want[invitation](t, http.StatusCreated, h.post(t, "/v1/admin/users", master, map[string]any{"email": awaited, "name": "Elif Expected", "audience": "internal", "federated": true})).ID
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
			what: "whom the provider sends for the first time", arrives: vouched, again: http.StatusSeeOther,
			entries: []expected{{contract.AuditUserCreated, "", "", "first sign-in with Echo", true, false}},
		},
		{
			what: "an account that becomes the provider's", arrives: awaited, again: http.StatusSeeOther,
			entries: []expected{{contract.AuditUserChanged, awaitedID, awaitedID, "first sign-in with Echo", true, false}},
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
func (d deed) inTheLog(t *testing.T, h *house, v *voucher, master, lost string) {
	t.Helper()
	what := lost + ": " + d.what
	again := d.try(t, h, v)
	asked := map[string]bool{d.first.Header.Get("X-Request-Id"): true, again.Header.Get("X-Request-Id"): true}
	for begun := time.Now(); verdict(again) == unavailable && time.Since(begun) < 10*time.Second; {
		again = d.try(t, h, v)
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
				by := want.actor
				if by == "" {
					by = e.User
				}
				same := e.Actor == by && e.User != "" && (e.User == want.user || want.user == "") && e.Reason == want.why
				if byRequest[e.Request]++; !asked[e.Request] || byRequest[e.Request] > 1 || !same {
					t.Errorf("%s: the log has %+v, of its request number %d; want one of %s, who said %q", name, e, byRequest[e.Request], by, want.why)
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

// office is what an operator's commands work with.
func (h *house) office(t *testing.T) *gateway.Office {
	t.Helper()
	office, err := gateway.OpenOffice(t.Context(), h.store(contract.AuthGateway), h.Clock, h.bases[0])
	if err != nil {
		t.Fatal(err)
	}
	return office
}

func (h *house) portalKey(t *testing.T) portalKey {
	t.Helper()
	word, made, err := h.office(t).CreateAPIKey(t.Context(), gateway.DemoPortal, "portal", "portal", "test")
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
