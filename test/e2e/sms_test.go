package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB19B20NumberIsTypedAndConfirmed: any usual way of writing a number is one number; others are refused with the
// reason.
func TestB19B20NumberIsTypedAndConfirmed(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(clerk)
	stands(t, s, "enroll")
	if s.Factor != "sms" || !s.CanSkip || s.Destination != "" || s.Delivery != "" {
		t.Errorf("sign-in of a contact: %+v", s)
	}
	for number, reason := range map[string]string{
		"":                   "mobile number",
		"hello":              "not a telephone number",
		"+1 900 555 1234":    "remium",
		"+1 800 555 0199":    "oll-free",
		"+49 1512 3456789":   "country",
		"+44 20 7946 0018":   "landline",
		"+1 701 55":          "digits",
		"+881 612345678":     "atellite",
		"+1701555944300000":  "",
		"+17015559443;ext=1": "not a telephone number",
		"+1 701 555 9443 x5": "extension",
	} {
		a := p.Do("POST", s.Path("/enrollment"), s.Token, phone(number))
		if !a.Is(422, "invalid_request") || !strings.Contains(a.Problem().Detail, reason) {
			t.Errorf("number %q: %s; want 422 with a reason like %q", number, a, reason)
		}
	}
	if n := len(p.Messages("")); n != 0 {
		t.Fatalf("%d messages were sent to refused numbers", n)
	}
	sut.Expect(t, p.Do("POST", s.Path("/resend"), s.Token, nil), 409, "conflict")
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code("123456")), 409, "conflict")
	sut.Expect(t, p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}), 422, "invalid_request")

	e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", s.Path("/enrollment"), s.Token, phone(" (701) 555-9443 ")))
	if e.Factor != "sms" || e.Destination != "xxx-xxx-9443" || e.ResendIn == nil || *e.ResendIn < 25 || *e.ResendIn > 30 || e.Key != "" {
		t.Errorf("enrolment: %+v", e)
	}
	c := p.LastCode(clerkPhone)
	wrong := "000000"
	if c == wrong {
		wrong = "111111"
	}
	a := p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(wrong))
	sut.Expect(t, a, 422, "invalid_code")
	if left := a.Problem().AttemptsLeft; left == nil || *left != 4 {
		t.Errorf("attempts_left: %v, want 4", left)
	}
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(c[:3]+" "+c[3:])))
	// B21: enrolment alone opens no session.
	stands(t, done, "relogin")
	for _, path := range []string{"/enrollment/confirm", "/verify", "/resend", "/enrollment/skip"} {
		sut.Expect(t, p.Do("POST", s.Path(path), s.Token, code(c)), 409, "conflict")
	}
	again := p.BeginSignIn(clerk)
	stands(t, again, "challenge")
	if again.Destination != "xxx-xxx-9443" {
		t.Errorf("destination: %q", again.Destination)
	}
	// The number, however it was typed, is one.
	for n, spelling := range []string{"701.555.9444", "+1-701-555-9445", "001 701 555 9446", "1 (701) 555 9447", "+44 7911 123456"} {
		other := []string{owner, temp, globex, "", ""}[n]
		if other == "" {
			break
		}
		s := p.BeginSignIn(other)
		a := p.Do("POST", s.Path("/enrollment"), s.Token, phone(spelling))
		if spelling[:3] == "001" {
			continue // "001" is how some dial out, and not how anybody in these countries does: either answer will do
		}
		if a.Status != http.StatusCreated {
			t.Errorf("number %q: %s", spelling, a)
			continue
		}
		p.LastCode(fmt.Sprintf("+1701555944%d", 4+n))
	}
}

// TestB21B23LaterSignInsSendACode: and only the last digits of the number ever leave the server.
func TestB21B23LaterSignInsSendACode(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	seen := len(p.Messages(clerkPhone))
	s := p.BeginSignIn(clerk)
	stands(t, s, "challenge")
	if s.Factor != "sms" || s.Destination != "xxx-xxx-9443" || s.ResendIn == nil || s.CanSkip {
		t.Errorf("challenge: %+v", s)
	}
	c := p.CodeAfter(clerkPhone, seen)
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil), 409, "conflict")
	// A code belongs to its sign-in.
	first := s
	p.Advance(31 * time.Second)
	second := p.BeginSignIn(clerk)
	c2 := p.CodeAfter(clerkPhone, seen+1)
	if c != c2 {
		sut.Expect(t, p.Do("POST", first.Path("/verify"), first.Token, code(c2)), 422, "invalid_code")
	}
	done := p.Verify(second, c2)
	stands(t, done, "complete")
	equal(t, "amr", who(t, p, done.Session.Token).AMR, []string{"pwd", "sms"})
	account := p.Do("GET", "/v1/account", done.Session.Token, nil)
	for _, a := range []sut.Answer{account, p.Who(done.Session.Token), p.Do("GET", first.Path(""), first.Token, nil)} {
		if strings.Contains(strings.NewReplacer("-", "", " ", "").Replace(string(a.Body)), "701555") {
			t.Errorf("the number leaves the server: %s", a)
		}
	}
	// A code dies after five minutes.
	seen = len(p.Messages(clerkPhone))
	late := p.BeginSignIn(clerk)
	c = p.CodeAfter(clerkPhone, seen)
	p.Advance(5*time.Minute + time.Second)
	sut.Expect(t, p.Do("POST", late.Path("/verify"), late.Token, code(c)), 410, "expired")
}

// TestB24ResendWaits: the server enforces the countdown, over restarts of the flow too, and a resend never resets the
// count of failures.
func TestB24ResendWaits(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	seen := len(p.Messages(clerkPhone))
	s := p.BeginSignIn(clerk)
	old := p.CodeAfter(clerkPhone, seen)
	a := p.Do("POST", s.Path("/resend"), s.Token, nil)
	sut.Expect(t, a, 429, "too_soon")
	retryAfter(t, a, 30*time.Second)
	// Another sign-in of the same person is no way around the wait: it begins, and says when a code may be had.
	other := p.BeginSignIn(clerk)
	stands(t, other, "challenge")
	if other.ResendIn == nil || *other.ResendIn < 20 || *other.ResendIn > 30 {
		t.Errorf("resend_in of a second sign-in: %v", other.ResendIn)
	}
	sut.Expect(t, p.Do("POST", other.Path("/resend"), other.Token, nil), 429, "too_soon")
	wrong := "000000"
	if old == wrong {
		wrong = "111111"
	}
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(wrong)), 422, "invalid_code")
	p.Advance(30 * time.Second)
	again := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/resend"), s.Token, nil))
	if again.ResendIn == nil || *again.ResendIn < 50 || *again.ResendIn > 60 {
		t.Errorf("resend_in after the second text: %v; it grows", again.ResendIn)
	}
	fresh := p.CodeAfter(clerkPhone, seen+1)
	if fresh != old {
		a = p.Do("POST", s.Path("/verify"), s.Token, code(old))
		sut.Expect(t, a, 422, "invalid_code")
		if left := a.Problem().AttemptsLeft; left == nil || *left != 3 {
			t.Errorf("attempts_left after a resend: %v; the failure before it still counts", left)
		}
	}
	stands(t, p.Verify(s, fresh), "complete")
	if n := len(p.Messages(clerkPhone)); n != seen+2 {
		t.Errorf("%d messages were sent; want 2", n-seen)
	}
}

// retryAfter fails the test unless an answer says when to come back, and the same in header and body.
func retryAfter(t *testing.T, a sut.Answer, most time.Duration) {
	t.Helper()
	var header int
	if _, err := fmt.Sscan(a.Header.Get("Retry-After"), &header); err != nil || header < 1 || time.Duration(header)*time.Second > most {
		t.Errorf("%s %s: Retry-After is %q; want 1 to %v", a.Method, a.Path, a.Header.Get("Retry-After"), most)
	}
	if got := a.Problem().RetryAfter; got != header {
		t.Errorf("%s %s: retry_after is %d, the header %d", a.Method, a.Path, got, header)
	}
}

// TestB26DeliveryIsTold: queued, sent, or failed with the reason.
func TestB26DeliveryIsTold(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	delivery := func(s sut.SignIn, want, reason string) {
		t.Helper()
		var got sut.SignIn
		sut.Eventually(t, 15*time.Second, "delivery "+want, func() bool {
			got = look(t, p, s)
			return got.Delivery == want
		})
		if got.DeliveryReason != reason {
			t.Errorf("delivery %s: reason %q, want %q", want, got.DeliveryReason, reason)
		}
	}
	s := p.BeginSignIn(clerk)
	if s.Delivery != "queued" && s.Delivery != "sent" {
		t.Errorf("delivery at first: %q", s.Delivery)
	}
	delivery(s, "sent", "")
	stands(t, p.Verify(s, p.LastCode(clerkPhone)), "complete")
	for _, fault := range []struct{ mode, reason string }{{"opted_out", "opted_out"}, {"invalid", "invalid_number"}} {
		p.Faults(fault.mode, 1)
		failed := p.BeginSignIn(clerk)
		delivery(failed, "failed", fault.reason)
		stands(t, look(t, p, failed), "challenge")
		// "Try again" is offered, after the wait.
		p.Advance(6 * time.Minute)
		seen := len(p.Messages(clerkPhone))
		sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", failed.Path("/resend"), failed.Token, nil))
		stands(t, p.Verify(failed, p.CodeAfter(clerkPhone, seen)), "complete")
	}
	// A carrier that stumbles is tried again, with the same code and never more than three times.
	for _, mode := range []string{"throttle", "error500", "reset"} {
		seen := len(p.Messages(clerkPhone))
		p.Faults(mode, 1)
		s := p.BeginSignIn(clerk)
		delivery(s, "sent", "")
		got := p.Messages(clerkPhone)[seen:]
		if len(got) == 0 || len(got) > 2 {
			t.Fatalf("%s: %d messages arrived", mode, len(got))
		}
		for _, m := range got {
			if sut.CodeIn(t, m.Body) != sut.CodeIn(t, got[0].Body) {
				t.Errorf("%s: a retry has another code", mode)
			}
		}
		stands(t, p.Verify(s, sut.CodeIn(t, got[0].Body)), "complete")
		p.Advance(time.Minute)
	}
}

// TestB27TextFitsOnePart: it names the portal, and its last line binds the code to the host.
func TestB27TextFitsOnePart(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	all := p.Messages(clerkPhone)
	if len(all) != 1 {
		t.Fatalf("%d messages for one enrolment", len(all))
	}
	body := all[0].Body
	c := sut.CodeIn(t, body)
	lines := strings.Split(body, "\n")
	if last := lines[len(lines)-1]; last != "@127.0.0.1 #"+c {
		t.Errorf("last line: %q", last)
	}
	if !strings.Contains(lines[0], "Northwind Portal") || !strings.Contains(lines[0], c) {
		t.Errorf("first line: %q", lines[0])
	}
	if len(body) > 160 || regexp.MustCompile(`[^\x20-\x7e\n]`).MatchString(body) {
		t.Errorf("the text does not fit one part: %q", body)
	}
	if all[0].Attributes["AWS.SNS.SMS.SMSType"] != "Transactional" {
		t.Errorf("attributes: %v; want a transactional message", all[0].Attributes)
	}
}

// TestB03B04SkipIsRemembered: where opt-out is allowed, later sign-ins go straight through, restarts included.
func TestB03B04SkipIsRemembered(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(temp)
	stands(t, s, "enroll")
	done := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil))
	stands(t, done, "complete")
	equal(t, "amr", who(t, p, done.Session.Token).AMR, []string{"pwd"})
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil), 409, "conflict")
	stands(t, p.BeginSignIn(temp), "complete")
	account := sut.Want[sut.Account](t, http.StatusOK, p.Do("GET", "/v1/account", done.Session.Token, nil))
	if account.User.Standing != "skipped" || len(account.Factors) != 0 {
		t.Errorf("account of one who skipped: %+v", account)
	}
	// Who has no factor has nothing to recover.
	sut.Expect(t, p.Do("POST", "/v1/account/recovery-codes", done.Session.Token, nil), 403, "forbidden")
	stands(t, p.BeginSignIn(clerk), "enroll") // one person's skip is no other's
	p.Restart()
	stands(t, p.BeginSignIn(temp), "complete")

	// Withdrawn opt-out: enrolment, at once.
	key, session := p.EnrolTOTP(admin)
	p.StepUp(session, key)
	now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", session, nil))
	now.Organizations.AllowOptOut = false
	changed := sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", session, now))
	s = p.BeginSignIn(temp)
	stands(t, s, "enroll")
	if s.CanSkip {
		t.Error("opt-out was withdrawn, and skipping is offered")
	}
	sut.Expect(t, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil), 403, "forbidden")
	// Allowed again, the old skip is not revived.
	changed.Organizations.AllowOptOut = true
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", session, changed))
	stands(t, p.BeginSignIn(temp), "enroll")
}

// TestB05OffAndOnMakesEverybodyEnrolAgain: authenticator apps and text messages alike, each population for itself.
func TestB05OffAndOnMakesEverybodyEnrolAgain(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	adminKey, session := p.EnrolTOTP(admin)
	p.EnrolTOTP(agent)
	p.EnrolSMS(clerk, clerkPhone)
	p.StepUp(session, adminKey)
	change := func(f func(*sut.Settings)) {
		t.Helper()
		now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", session, nil))
		f(&now)
		sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", session, now))
	}
	change(func(s *sut.Settings) { s.Organizations.Mode = "off" })
	stands(t, p.BeginSignIn(clerk), "complete")
	stands(t, p.BeginSignIn(agent), "challenge") // B01: one switch never touches the other
	change(func(s *sut.Settings) { s.Organizations.Mode = "required" })
	stands(t, p.BeginSignIn(clerk), "enroll")
	stands(t, p.BeginSignIn(agent), "challenge")
	change(func(s *sut.Settings) { s.Organizations.Mode = "optional" })
	stands(t, p.BeginSignIn(clerk), "complete") // B02: optional starts no enrolment
	change(func(s *sut.Settings) { s.Internal.Mode = "off" })
	stands(t, p.BeginSignIn(agent), "complete")
	change(func(s *sut.Settings) { s.Internal.Mode = "required" })
	stands(t, p.BeginSignIn(agent), "enroll")
	stands(t, p.BeginSignIn(admin), "enroll")
}
