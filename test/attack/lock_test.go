package attack

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
	"sallyport/test/sut"
)

// home is the network that the owner comes from.
const home = "198.51.100.7"

// from sends a request to the next gateway from an address.
func (h *house) from(t testing.TB, address, method, path, token string, body any) sut.Answer {
	t.Helper()
	n, _ := h.gate()
	a, err := h.doors[n].From(address).Try(context.Background(), method, path, token, body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return a
}

// atHome is the owner's whole way in, from their own network, without a single hindrance.
func (p *person) atHome(t testing.TB, what string) string {
	t.Helper()
	h := p.h
	seen := 0
	if p.key == "" {
		seen = len(h.inbox.Messages(p.phone))
	}
	a := h.from(t, home, http.MethodPost, "/v1/sign-ins", "", p.credentials())
	if a.Status != http.StatusCreated {
		t.Fatalf("%s: the owner's password: %s", what, a)
	}
	s := sut.Want[sut.SignIn](t, http.StatusCreated, a)
	if s.Status != "challenge" || !s.LockedUntil.IsZero() {
		t.Fatalf("%s: the owner's sign-in: %s", what, a)
	}
	var code string
	if p.key == "" {
		code = h.inbox.CodeAfter(p.phone, seen)
	} else {
		code = p.code(t)
	}
	done := h.from(t, home, http.MethodPost, s.Path("/verify"), s.Token, typed(code))
	if done.Status != http.StatusOK {
		t.Fatalf("%s: the owner's code: %s", what, done)
	}
	return sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, done))
}

// TestRule08WhoLacksThePasswordLocksNobodyOut does all that somebody can who knows an address, and ids that are no secret:
// wrong passwords from many networks, codes with tokens of others and of nobody, half of a token. No code is looked at for
// it, and the owner comes in from home as ever.
func TestRule08WhoLacksThePasswordLocksNobodyOut(t *testing.T) {
	t.Parallel()
	h := openHouse(t, map[string]string{"PASSWORD_LIMIT_ACCOUNT": "10/10m,20/1h,50/24h", "PASSWORD_LIMIT_NETWORK": "400/10m,600/1h,1000/24h"})
	owner, mallory := h.add(t, contract.Internal, 1)[0], h.add(t, contract.Internal, 1)[0]
	contact := h.add(t, contract.Organization, 1)[0]
	owner.enrol(t)
	contact.enrol(t)
	owner.atHome(t, "before")
	contact.atHome(t, "before")
	malloryIn := mallory.enrol(t)
	h.Clock.Add(time.Minute)
	open, texted, own := owner.begin(t), contact.begin(t), mallory.begin(t)
	compared, seen, repeated := h.compared(), h.counted(textVerifications, "right", "wrong"), h.repeated()
	attack := func() {
		t.Helper()
		answers := make([]sut.Answer, 300)
		atOnce(len(answers), func(i int) {
			victim, s := owner, open
			if i%2 == 0 {
				victim, s = contact, texted
			}
			token := map[int]string{
				0: "", 1: own.Token, 2: malloryIn, 3: "si_" + s.ID + "_" + strings.Repeat("A", 26), 4: "si_" + s.ID + "_", 5: s.ID, 6: s.Token[:len(s.Token)-1],
				7: strings.ToLower(s.Token), 8: s.Token + "A", 9: "se" + s.Token[2:],
			}[i/2%10]
			switch i % 5 {
			case 0: // wrong passwords, from as many networks as there are
				answers[i] = h.from(t, fmt.Sprintf("203.0.%d.9", i%256), http.MethodPost, "/v1/sign-ins", "", map[string]string{"email": victim.email, "password": fmt.Sprint("guess", i)})
			case 1:
				answers[i] = h.post(t, s.Path("/verify"), token, typed("123456"))
			case 2:
				if token == own.Token { // which is good for Mallory's own sign-in
					token = ""
				}
				answers[i] = h.submit(t, pages{path: "/sign-in/code", signIn: token, form: oneField("code", "123456")})
			case 3:
				if token == malloryIn {
					token = own.Token
				}
				answers[i] = h.post(t, "/v1/session/step-up", token, proof("123456"))
			default:
				answers[i] = h.post(t, s.Path("/recover"), token, recovery("0000-0000-0000-0000"))
			}
		})
		for _, a := range answers {
			if v := verdict(a); !oneOf(v, "invalid_credentials", "rate_limited", "unauthenticated", "not_found", "303", "step_up_required", unavailable) {
				t.Errorf("without a password: %s", a)
			}
		}
	}
	for round := range 3 {
		attack()
		what := fmt.Sprintf("round %d", round+1)
		h.Clock.Add(31 * time.Second) // between two texts
		owner.atHome(t, what)
		contact.atHome(t, what)
	}
	// What was compared is what the owners typed: one code in each round.
	if n := h.compared() - compared - 3; n > h.repeated()-repeated {
		t.Errorf("%d codes of authenticators were compared for somebody without the password", n)
	}
	if n := h.counted(textVerifications, "right", "wrong") - seen - 3; n > h.repeated()-repeated {
		t.Errorf("%d texted codes were compared for somebody without the password", n)
	}
	for p, where := range map[*person][2]string{owner: {"totp-svc", "authenticators"}, mallory: {"totp-svc", "authenticators"}, contact: {"sms-dispatcher", "phones"}} {
		if n := h.failures(contract.Service(where[0]), where[1], p); n != 0 {
			t.Errorf("%s: %d failures are counted", p.user, n)
		}
	}

	// A stolen session without the password guesses no codes either, and its owner steps up from home.
	h.Clock.Add(25 * time.Hour) // the passwords of before count no more
	session := owner.atHome(t, "a session")
	compared = h.compared()
	judged := 0
	for i := range 30 {
		a := h.from(t, "192.0.2.66", http.MethodPost, "/v1/session/step-up", session, map[string]string{"password": fmt.Sprint("guess", i), "code": "123456"})
		if v := verdict(a); !oneOf(v, "invalid_credentials", "rate_limited") {
			t.Errorf("a step-up with a wrong password: %s", a)
		} else if v == "invalid_credentials" {
			judged++
		}
	}
	if judged == 0 {
		t.Error("no wrong password of a step-up was looked at: nothing was tried")
	}
	if n := h.compared() - compared; n != 0 {
		t.Errorf("%d codes were compared in step-ups with wrong passwords", n)
	}
	sut.Expect(t, h.from(t, home, http.MethodPost, "/v1/session/step-up", session, proof(owner.code(t))), http.StatusNoContent, "")
}

// TestRule08WhoHasThePasswordLocksOneFactorOnly has somebody with the password close whatever they can. The owner's open
// sessions go on, their recovery codes work, the lock ends by itself, and nobody else notices.
func TestRule08WhoHasThePasswordLocksOneFactorOnly(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	owner, other := people[0], people[1]
	contact := h.add(t, contract.Organization, 1)[0]
	session := owner.enrol(t)
	codes := owner.recoveryCodes(t, session)
	others := other.enrol(t)
	contact.enrol(t)
	lock := func(p *person, door func() try, wrong []string) {
		t.Helper()
		for i := range lockout.Round {
			if v := verdict(door()(wrong[i])); v != wrongCode {
				t.Fatalf("guess %d: %s", i+1, v)
			}
		}
		if v := verdict(door()(wrong[0])); v != locked {
			t.Fatalf("%s: five wrong codes close nothing: %s", p.user, v)
		}
	}
	lock(owner, func() try { return h.verifyDoor(t, owner.begin(t)) }, h.wrong(t, owner.key, lockout.Round))
	for who, s := range map[string]string{"owner": session, "other": others} {
		if a := h.call(t, http.MethodGet, "/v1/session", s, nil); a.Status != http.StatusOK {
			t.Errorf("a session of the %s ends with a lock: %s", who, a)
		}
	}
	if v := verdict(h.verifyDoor(t, other.begin(t))(h.appCode(t, other.key, 1))); v != in {
		t.Errorf("another's code, while one person is locked: %s", v)
	}
	// Both ways back: the time, and a recovery code.
	h.Clock.Add(lockout.FirstWait)
	owner.signIn(t)
	lock(owner, func() try { return h.verifyPage(t, owner.begin(t)) }, h.wrong(t, owner.key, lockout.Round))
	s := owner.begin(t)
	if v := verdict(h.recoverDoor(t, s)(codes[0])); v != in {
		t.Errorf("a recovery code, while the app is closed: %s", v)
	}
	owner.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
	owner.last = 0
	sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.confirmDoor(t, s)(owner.code(t))))

	// A telephone: whoever has the password may also have texts sent, and hold none of them back for ever.
	signIn, code := contact.beginText(t)
	lock(contact, func() try { return h.verifyDoor(t, signIn) }, differentFrom(code))
	h.Clock.Add(lockout.FirstWait)
	if v := verdict(h.verifyDoor(t, signIn)(code)); v != in {
		t.Errorf("the owner's text after the lock: %s", v)
	}
}
