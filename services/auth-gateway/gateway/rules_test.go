package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

func TestOneAddressIsOneAccount(t *testing.T) {
	for _, typed := range []string{"agent@demo.test", " Agent@Demo.Test ", "AGENT@DEMO.TEST", "ａgent@demo.test", "agent@demo.test\n"} {
		if got, ok := canonicalEmail(typed); !ok || got != "agent@demo.test" {
			t.Errorf("%q is %q, %v", typed, got, ok)
		}
	}
	for _, typed := range []string{"", "agent", "a@b@c", "Agent <agent@demo.test>", "a b@demo.test", "agent@demo.test, x@y.z", "a/b@demo.test", strings.Repeat("a", 250) + "@b.cd"} {
		if got, ok := canonicalEmail(typed); ok {
			t.Errorf("%q was taken as %q", typed, got)
		}
	}
}

func TestOnlyPathsOfOurOwnAreReturnedTo(t *testing.T) {
	for _, good := range []string{"/", "/account", "/a/b?c=d&e=%2F", "/a#b", "/a:b@c"} {
		if localPath(good) != good {
			t.Errorf("%q was refused", good)
		}
	}
	for _, bad := range []string{
		"", "account", "//evil.test", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "/\n/evil.test", "https://evil.test", "https:evil.test",
		"javascript:alert(1)", "///evil.test", "/\\/evil.test", " /account", "/a b", "/é", "/a\x00", "/%zz", "//", "/" + strings.Repeat("a", 2000),
	} {
		if got := localPath(bad); got != "" {
			t.Errorf("%q was taken as %q", bad, got)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/account", "//evil.test", "/\\evil.test", "/%2f/evil", "/\t/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := localPath(s); got != "" && (got != s || got[0] != '/' || strings.ContainsAny(got, "\\\t\r\n") || strings.HasPrefix(got, "//")) {
			t.Errorf("%q was taken as %q", s, got)
		}
	})
}

func TestTokensOfOneKindAreNotOfTheOther(t *testing.T) {
	id, token, hash := newToken(signInToken)
	gotID, word, ok := parseToken(signInToken, token.Reveal())
	if !ok || gotID != id || !sameToken(hash, word) {
		t.Fatal("a token does not parse back")
	}
	if _, _, ok := parseToken(sessionToken, token.Reveal()); ok {
		t.Error("a sign-in's token was taken for a session's")
	}
	_, other, _ := newToken(signInToken)
	if _, word, _ := parseToken(signInToken, other.Reveal()); sameToken(hash, word) {
		t.Error("another token matches")
	}
	for _, bad := range []string{"", "si", "si_", "si__", "si_a_b", token.Reveal() + "A", strings.ToLower(token.Reveal()), "si_" + id + "_../../x"} {
		if _, _, ok := parseToken(signInToken, bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
	// The secret of each is 26 letters of five random bits: 130.
	words := map[string]bool{}
	for range 1000 {
		_, token, _ := newToken(sessionToken)
		_, word, ok := parseToken(sessionToken, token.Reveal())
		if !ok || len(word) != 26 || words[word] {
			t.Fatalf("after %d others a token has %d letters (parsed: %t, seen before: %t)", len(words), len(word), ok, words[word])
		}
		words[word] = true
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range contract.Codes() {
		p := problemOf(&contract.Error{Code: code, Detail: "x"})
		if p.Status != statusOf[code] || p.Code != string(code) || p.Status < 400 {
			t.Errorf("%s is answered %d %s", code, p.Status, p.Code)
		}
		if (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable) && p.GetHeaders().Get("Retry-After") == "" {
			t.Errorf("%s has no Retry-After", code)
		}
	}
	p := problemOf(http.ErrServerClosed)
	if p.Status != http.StatusInternalServerError || strings.Contains(p.Detail, "closed") {
		t.Errorf("an unknown error is answered %d %q", p.Status, p.Detail)
	}
	if p := problemOf(&contract.Error{Code: "made_up"}); p.Status != http.StatusInternalServerError {
		t.Errorf("an unknown code is answered %d", p.Status)
	}
}

func TestASessionEndsByTheClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	s := session{AuthTime: now, ExpiresAt: now.Add(sessionLife), SeenAt: now, Methods: []string{"pwd", "otp"}}
	if !s.live(now.Add(sessionIdle-1)) || s.live(now.Add(sessionIdle)) {
		t.Error("idle time is not half an hour")
	}
	s.SeenAt = now.Add(sessionLife - time.Minute)
	if s.live(now.Add(sessionLife)) {
		t.Error("it lives on past its absolute end")
	}
	if s.steppedUp(now) {
		t.Error("a sign-in counts as a step-up")
	}
	if !s.fresh(now.Add(stepUpLife-1)) || s.fresh(now.Add(stepUpLife)) {
		t.Error("a sign-in is not fresh for five minutes")
	}
	s.StepUpAt = now.Add(time.Hour)
	if !s.steppedUp(now.Add(time.Hour+stepUpLife-1)) || s.steppedUp(now.Add(time.Hour+stepUpLife)) {
		t.Error("a step-up is not good for five minutes")
	}
	plain := session{AuthTime: now, Methods: []string{"pwd"}}
	if plain.fresh(now) || plain.proven(true, now) {
		t.Error("a password alone is fresh")
	}
	if !plain.proven(false, now.Add(stepUpLife-1)) || plain.proven(false, now.Add(stepUpLife)) {
		t.Error("the password of somebody without a factor is not good for five minutes")
	}
	begun := &enrolling{BegunAt: now}
	if !begun.live(now.Add(enrollingLife-1)) || begun.live(now.Add(enrollingLife)) || (*enrolling)(nil).live(now) {
		t.Error("an authenticator is not shown for ten minutes")
	}
}

func TestB29WhoIsToldOfAReset(t *testing.T) {
	at := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	for cause, told := range map[contract.ResetCause]bool{
		contract.ResetByAdmin: true, contract.ResetByOperator: true, contract.ResetByRecovery: false, contract.ResetByRemoval: false,
	} {
		s := signIn{Who: profile{Audience: contract.Internal}}
		s.follow(contract.Decision{Action: contract.Enroll, Factor: contract.FactorTOTP, Reset: &contract.ResetNote{At: at, Cause: cause}})
		if (s.Reset != nil) != told || s.Again != told {
			t.Errorf("a reset by %s: told %v, again %v", cause, s.Reset != nil, s.Again)
		}
	}
}

func TestB22WhoIsOfferedTextMessages(t *testing.T) {
	open := contract.Decision{Action: contract.Allow, MayEnroll: true}
	enrolled := open
	enrolled.Factors = []contract.FactorInfo{{Factor: contract.FactorSMS}}
	off := open
	off.MayEnroll = false
	asked := open
	asked.Action = contract.Enroll
	for name, c := range map[string]struct {
		d    contract.Decision
		a    contract.Audience
		want bool
	}{
		"a contact who skipped": {open, contract.Organization, true}, "an internal user": {open, contract.Internal, false},
		"a contact with a factor": {enrolled, contract.Organization, false}, "switched off": {off, contract.Organization, false}, "asked now": {asked, contract.Organization, false},
	} {
		if canEnable(c.d, c.a) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}
