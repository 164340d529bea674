package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB24ALimitIsRefusedAndAudited: whoever asks, no more texts go to a number than its limit; the answer says which
// limit it is and when to come back, and the audit log has it once.
func TestB24ALimitIsRefusedAndAudited(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"SMS_LIMIT_NUMBER": "2/10m"})
	_, master := p.EnrolTOTP(admin)
	for i, who := range []string{clerk, owner} {
		s := p.BeginSignIn(who)
		sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", s.Path("/enrollment"), s.Token, phone(clerkPhone)))
		sut.Eventually(t, 10*time.Second, "the text arrives", func() bool { return len(p.Messages(clerkPhone)) == i+1 })
	}
	s := p.BeginSignIn(temp)
	for range 2 {
		a := p.Do("POST", s.Path("/enrollment"), s.Token, phone(clerkPhone))
		sut.Expect(t, a, http.StatusTooManyRequests, "rate_limited")
		if r := a.Problem(); r.Reason != "limit_number" || r.RetryAfter < 600 || r.RetryAfter > 660 || a.Header.Get("Retry-After") != strconv.Itoa(r.RetryAfter) {
			t.Errorf("%s: %+v, Retry-After %q", a, r, a.Header.Get("Retry-After"))
		}
	}
	if n := len(p.Messages(clerkPhone)); n != 2 {
		t.Errorf("%d texts were sent", n)
	}
	var page struct{ Items []auditEntry }
	sut.Eventually(t, 10*time.Second, "the audit log has it", func() bool {
		a := p.Do("GET", "/v1/admin/audit?action=texts_limited", master, nil)
		page = sut.Want[struct{ Items []auditEntry }](t, http.StatusOK, a)
		return len(page.Items) > 0
	})
	if e := page.Items[0]; len(page.Items) != 1 || e.User != "temp-acme" || e.Detail["guard"] != "number" || e.Detail["subject"] != "xxx-xxx-9443" || e.Detail["limit"] != "2" {
		t.Errorf("the log has %+v", page.Items)
	}
	// An operator sees how the texts fare, the services running or not.
	if out := p.Operate(0, "texts", "status", "--portal", "demo").Stdout(); !strings.Contains(out, "demo") {
		t.Errorf("texts status prints %q", out)
	}
	p.Operate(2, "texts", "resume", "--portal", "demo", "--country", "US", "--reason", " ")
	if out := p.Operate(0, "texts", "resume", "--portal", "demo", "--country", "us", "--reason", "carrier mended").Stdout(); !strings.Contains(out, "US is not stopped") {
		t.Errorf("texts resume prints %q", out)
	}
}

// TestB24ALimitOfTheNetwork: the gateway says where a request comes from, and no more texts are sent for one network
// than its limit, whoever asks and for whatever number.
func TestB24ALimitOfTheNetwork(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"SMS_LIMIT_NETWORK": "2/10m"})
	for i, who := range []string{clerk, owner, temp} {
		s := p.BeginSignIn(who)
		a := p.Do("POST", s.Path("/enrollment"), s.Token, phone("+1701555944"+strconv.Itoa(i)))
		if i < 2 {
			sut.Want[sut.Enrollment](t, http.StatusCreated, a)
			continue
		}
		sut.Expect(t, a, http.StatusTooManyRequests, "rate_limited")
		if r := a.Problem().Reason; r != "limit_network" {
			t.Errorf("refused by %s", r)
		}
	}
}
