package e2e

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"sallyport/test/sut"
)

// offers fails the test unless a sign-in offers these other ways, in this order.
func offers(t *testing.T, s sut.SignIn, ways ...string) {
	t.Helper()
	if !slices.Equal(s.OtherWays, ways) {
		t.Errorf("the sign-in offers %q, want %q", s.OtherWays, ways)
	}
}

// TestB26AnotherWayIsOffered: half a minute after a text was asked for, and not before.
func TestB26AnotherWayIsOffered(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)

	// While a number is enrolled: another number, a skip where the portal lets the person, and whom to ask.
	e := p.BeginSignIn("temp@acme.test")
	offers(t, e)
	p.Advance(time.Minute)
	offers(t, look(t, p, e)) // no text was asked for
	p.Do("POST", e.Path("/enrollment"), e.Token, phone("+1 701 555 9444"))
	offers(t, look(t, p, e))
	p.Advance(29 * time.Second)
	offers(t, look(t, p, e))
	p.Advance(time.Second)
	offers(t, look(t, p, e), "new_number", "skip", "support")
	p.Do("POST", e.Path("/enrollment"), e.Token, phone("+1 701 555 9445"))
	offers(t, look(t, p, e)) // the new number has half a minute of its own

	// At a sign-in: a recovery code, and whom to ask.
	p.EnrolSMS(clerk, clerkPhone)
	p.Advance(time.Minute)
	seen := len(p.Messages(clerkPhone))
	s := p.BeginSignIn(clerk)
	offers(t, s)
	p.CodeAfter(clerkPhone, seen) // its text is out, so that the next one is the resend's
	p.Advance(30 * time.Second)
	offers(t, look(t, p, s), "recovery_code", "support")
	seen = len(p.Messages(clerkPhone))
	again := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/resend"), s.Token, nil))
	offers(t, again, "recovery_code", "support") // what was offered stays
	done := p.Verify(s, p.CodeAfter(clerkPhone, seen))
	stands(t, done, "complete")
	offers(t, done)

	// At once when the text failed.
	p.Advance(6 * time.Minute)
	p.Faults("opted_out", 1)
	failed := p.BeginSignIn(clerk)
	sut.Eventually(t, 15*time.Second, "the failure is told", func() bool { return look(t, p, failed).Delivery == "failed" })
	offers(t, look(t, p, failed), "recovery_code", "support")
}

// TestB26ALimitIsToldWithAnotherWay: who may have no other text is told until when, and what else there is; in this
// sign-in, and in the next.
func TestB26ALimitIsToldWithAnotherWay(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	p.Advance(11 * time.Minute)
	s := p.BeginSignIn(clerk)
	var refused sut.Answer
	for range 20 {
		a := p.Do("POST", s.Path("/resend"), s.Token, nil)
		if a.Is(http.StatusTooManyRequests, "rate_limited") {
			refused = a
			break
		}
		if a.Status != http.StatusOK {
			p.Advance(time.Duration(a.Problem().RetryAfter) * time.Second)
		}
	}
	if refused.Status == 0 {
		t.Fatal("no limit refuses a text")
	}
	left := refused.Problem().RetryAfter
	if left < 1 {
		t.Errorf("%s does not say when to try again", refused)
	}
	offers(t, look(t, p, s), "recovery_code", "support")
	next := p.BeginSignIn(clerk)
	offers(t, next, "recovery_code", "support")

	v := newVisitor(t, p)
	v.signIn(clerk)
	v.at("/sign-in/code")
	v.says("No new text just now", "Try again in", "Sign in with a recovery code", "Ask for help")
	p.Advance(time.Duration(left) * time.Second)
	if a := p.Do("POST", next.Path("/resend"), next.Token, nil); a.Status != http.StatusOK {
		t.Errorf("after the wait: %s", a)
	}
}

// TestB26DeliveriesByCountry: a Master Admin sees how texts fare by country, and the list of them.
func TestB26DeliveriesByCountry(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, master := p.EnrolTOTP(admin)
	_, ordinary := p.EnrolTOTP(agent)
	const traffic = "/v1/admin/deliveries/traffic"
	sut.Expect(t, p.Do("GET", traffic, "", nil), http.StatusUnauthorized, "unauthenticated")
	sut.Expect(t, p.Do("GET", traffic, ordinary, nil), http.StatusForbidden, "forbidden")
	p.EnrolSMS(clerk, clerkPhone)
	type country struct {
		Country  string `json:"country"`
		Sent     int    `json:"sent"`
		Answered int    `json:"answered"`
	}
	type countries struct {
		Countries []country `json:"countries"`
	}
	sut.Eventually(t, 15*time.Second, "the answered text counts", func() bool {
		got := sut.Want[countries](t, http.StatusOK, p.Do("GET", traffic, master, nil)).Countries
		return len(got) == 1 && got[0] == country{"US", 1, 1}
	})
	p.Advance(time.Minute)
	v := newVisitor(t, p)
	v.signIn(admin)
	v.post("/sign-in/code", form{"code": p.Code(key)})
	v.get("/admin/deliveries")
	v.at("/admin/deliveries")
	v.says("Deliveries", "United States", "1 (100 %)", "xxx-xxx-9443", "Arrived: its code was used")
}
