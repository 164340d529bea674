package browser

import (
	"encoding/csv"
	"net/http"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestB39AuditLog is what an admin reads afterwards: who did what to whom and why, what became of each text message,
// and the log as a file.
func TestB39AuditLog(t *testing.T) {
	everyWay(t, func(s *scene) {
		key := s.enrolled(admin)
		s.enrolled(agent)
		s.EnrolSMS(clerk, number)
		s.Faults("opted_out", 0)
		c := s.visitor()
		c.signIn("/account", clerk)
		c.readsState("Delivery failed")

		v := s.comesIn(admin, key, "/admin/users/agent-demo/reset")
		v.fill("Why?", "=HYPERLINK(\"http://evil.test\")")
		v.press("Reset two-factor")
		v.reads("Two-factor is reset.")

		v.press("Deliveries")
		v.onPage("Deliveries")
		v.reads("Clara Weiss", "xxx-xxx-9443", "Arrived: its code was used", "Delivery failed", "This number has refused our texts.")
		v.readsNot("555")
		v.picture("120-deliveries")
		v.fill("Person (email)", "owner@acme.test")
		v.press("Show")
		v.reads("No text message matches.")

		v.press("Audit log")
		v.onPage("Audit log")
		v.reads("Ada Moreau reset the second factor of Amir Haddad.", "Clara Weiss set up a second factor.", "Ada Moreau set up a second factor.")
		v.picture("121-audit")
		v.pick("What", "Two-factor reset")
		v.fill("Person (email)", "agent@demo.test")
		v.press("Show")
		v.reads("Ada Moreau reset the second factor of Amir Haddad.", `Why: =HYPERLINK("http://evil.test")`)
		v.readsNot("Clara Weiss")
		v.picture("122-audit-filtered")
		v.fill("Person (email)", "nobody@demo.test")
		v.press("Show")
		v.reads("There is nobody with this address.")
		v.hasFocusOn("Person (email)")
		v.picture("123-audit-unknown")
		v.press("Clear")

		file := v.download("Export CSV", "audit-*.csv")
		answer := v.fetches("/admin/audit.csv?action=enrolment_reset")
		if kind := answer.Header.Get("Content-Type"); answer.Status != http.StatusOK || kind != "text/csv; charset=utf-8" {
			t.Fatalf("the export answers %d, %s", answer.Status, kind)
		}
		whole, filtered := lines(t, file), lines(t, string(answer.Body))
		if len(filtered) != 2 || len(whole) <= len(filtered) {
			t.Fatalf("the export has %d lines, the filtered one %d; want more, and 2:\n%s", len(whole), len(filtered), answer.Body)
		}
		if row := strings.Join(filtered[1], "|"); !strings.Contains(row, "Ada Moreau|agent-demo|Amir Haddad|'=HYPERLINK") {
			t.Errorf("the export says %q; it must name both, and no cell may be a formula", row)
		}

		// It is for Master Admins only, and so is the file.
		a := s.visitor()
		a.goTo("/sign-in")
		sut.Expect(t, a.fetches("/v1/admin/audit"), http.StatusUnauthorized, "unauthenticated")
		if got := a.fetches("/admin/audit.csv"); got.Status == http.StatusOK {
			t.Error("the export is open to everybody")
		}
	})
}

// lines reads a file of comma-separated values.
func lines(t *testing.T, file string) [][]string {
	t.Helper()
	all, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatalf("no CSV: %v\n%s", err, file)
	}
	return all
}
