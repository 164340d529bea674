package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// newPassword is what people of these tests choose over their links.
const newPassword = "seven brown kettles sing"

var welcomeLink = regexp.MustCompile(`(?m)^  (http://\S+/welcome/\S+)$`)

// linkOf is the one-time link that a command printed, on its standard output and nowhere else.
func linkOf(t *testing.T, p *sut.Product, c *sut.Process) string {
	t.Helper()
	m := welcomeLink.FindStringSubmatch(c.Stdout())
	if m == nil {
		t.Fatalf("no link:\n%s", c.Output())
	}
	path := strings.TrimPrefix(m[1], p.Base)
	_, word, _ := strings.Cut(path, ".")
	if path == m[1] || word == "" {
		t.Fatalf("the link %s is not one of %s", m[1], p.Base)
	}
	if strings.Contains(c.Stderr(), word) {
		t.Error("the link stands on the standard error, too")
	}
	return path
}

// useLink sets a password over a link.
func useLink(t *testing.T, p *sut.Product, path string) {
	t.Helper()
	v := newVisitor(t, p)
	v.get(path)
	v.at(path)
	v.post(path, form{"password": newPassword, "again": newPassword})
	v.at("/sign-in")
}

// begin gives an address and a password of these tests.
func begin(p *sut.Product, email, password string) sut.Answer {
	return p.Do(http.MethodPost, "/v1/sign-ins", "", map[string]string{"email": email, "password": password})
}

// export is a portal's audit log.
func export(t *testing.T, p *sut.Product, portal string, args ...string) []map[string]any {
	t.Helper()
	c := p.Operate(0, append([]string{"audit", "export", "--portal=" + portal, "--format=jsonl"}, args...)...)
	var out []map[string]any
	for line := range strings.Lines(c.Stdout()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		out = append(out, e)
	}
	return out
}

// logged fails the test unless the audit log has exactly one entry of an action by an operator with this reason.
func logged(t *testing.T, p *sut.Product, portal, action, reason string) {
	t.Helper()
	found := export(t, p, portal, "--action="+action)
	n := 0
	for _, e := range found {
		actor, _ := e["actor"].(string)
		why, _ := e["reason"].(string)
		if strings.HasPrefix(actor, "operator:") && why == reason {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d entries %s by an operator with the reason %q, want one: %v", n, action, reason, found)
	}
}

// TestB32BreakGlass: the only way in for an admin who lost everything, while the services run.
func TestB32BreakGlass(t *testing.T) {
	t.Parallel()
	const why = "Her phone fell into the harbour."
	p := demo(t, nil)
	_, session := p.EnrolTOTP(admin)
	p.EnrolTOTP(second)
	p.Advance(10 * time.Minute) // the demo's clock is ahead of the operator's

	// Not for somebody else, not without a reason, and not for nobody.
	if said := p.Operate(1, "admin", "reset", "--portal=demo", agent, "--reason="+why).Stderr(); !strings.Contains(said, "no Master Admin") || !strings.Contains(said, "sallyport unlock") {
		t.Errorf("of somebody who is no admin it says: %s", said)
	}
	p.Operate(2, "admin", "reset", "--portal=demo", admin)
	p.Operate(2, "admin", "reset", "--portal=demo", admin, "--reason= ")
	p.Operate(1, "admin", "reset", "--portal=demo", "nobody@demo.test", "--reason="+why)
	p.Operate(1, "admin", "reset", "--portal=other", admin, "--reason="+why)
	who(t, p, session)

	c := p.Operate(0, "admin", "reset", "--portal=demo", "Admin@Demo.test", "--reason="+why)
	for _, said := range []string{"recorded in the audit log of demo as break_glass", "72h"} {
		if !strings.Contains(c.Stdout(), said) {
			t.Errorf("it does not say %q:\n%s", said, c.Stdout())
		}
	}
	if !strings.Contains(c.Stderr(), `"level":"WARN"`) || !strings.Contains(c.Stderr(), "break-glass") {
		t.Errorf("it is not loud: %s", c.Stderr())
	}
	logged(t, p, "demo", "break_glass", why)
	logged(t, p, "demo", "enrolment_reset", why)
	logged(t, p, "demo", "password_link_made", why)
	sut.Eventually(t, 20*time.Second, "the admin's session ends", func() bool { return p.Who(session).Status == http.StatusUnauthorized })
	sut.Expect(t, begin(p, admin, sut.DemoPassword), http.StatusUnauthorized, "invalid_credentials")

	link := linkOf(t, p, c)
	useLink(t, p, link)
	if v := newVisitor(t, p); v.get(link).status != http.StatusGone {
		t.Errorf("the link works twice: %d", v.page.status)
	}
	s := sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, admin, newPassword))
	stands(t, s, "enroll")
	// What the services told when they relayed it is in the log once, too.
	logged(t, p, "demo", "enrolment_reset", why)
	p.Operate(0, "audit", "verify")
}

// TestB32BreakGlassWithTheServicesDown: nothing runs, and it works; what it did is told when they run again.
func TestB32BreakGlassWithTheServicesDown(t *testing.T) {
	t.Parallel()
	const why = "Nobody else is left."
	p := demo(t, nil)
	_, session := p.EnrolTOTP(admin)
	who(t, p, session)
	p.Kill9()
	c := p.Operate(0, "admin", "reset", "--portal=demo", admin, "--reason="+why)
	logged(t, p, "demo", "break_glass", why)
	p.Resume()
	sut.Eventually(t, 20*time.Second, "the admin's session ends", func() bool { return p.Who(session).Status == http.StatusUnauthorized })
	useLink(t, p, linkOf(t, p, c))
	stands(t, sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, admin, newPassword)), "enroll")
	logged(t, p, "demo", "enrolment_reset", why)
}

// TestB40PortalAndFirstAdmin: from an empty directory to an admin who enrols, and a second portal beside the first.
func TestB40PortalAndFirstAdmin(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Env: sut.Fast(nil)})
	p.Stop()
	if err := os.RemoveAll(p.Data); err != nil {
		t.Fatal(err)
	}
	create := func(status int, id, url, email string) *sut.Process {
		return p.Operate(status, "portal", "create", "--id="+id, "--name=Portal "+id, "--url="+url, "--admin-email="+email, "--admin-name=Ada Moreau",
			"--organizations=required", "--allow-opt-out", "--support-email=help@example.test", "--accent=#1f5fd0")
	}
	p.Operate(2, "portal", "list") // no installation is made by looking
	create(2, "North", p.Base, "ada@north.test")
	create(2, "north", "http://north.example.com", "ada@north.test")
	link := linkOf(t, p, create(0, "north", p.Base, "ada@north.test"))
	create(1, "north", "https://other.example.com", "eve@north.test")
	create(1, "south", p.Base, "eve@south.test")
	p.Resume()
	create(0, "south", "https://south.example.com", "ada@north.test")

	useLink(t, p, link)
	s := sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, "ada@north.test", newPassword))
	stands(t, s, "enroll")
	if s.Factor != "totp" || s.CanSkip {
		t.Errorf("%+v", s)
	}
	var list []struct {
		ID, URL, Internal, Organizations string
		AllowOptOut                      bool `json:"allow_opt_out"`
		Admins                           int
	}
	if err := json.Unmarshal([]byte(p.Operate(0, "portal", "list", "--json").Stdout()), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].ID != "north" || list[0].URL != p.Base || list[0].Internal != "required" || list[0].Organizations != "required" ||
		!list[0].AllowOptOut || list[0].Admins != 1 || list[1].Admins != 0 {
		t.Errorf("%+v", list)
	}
	// A second admin, whose address is not taken.
	c := p.Operate(0, "admin", "create", "--portal=north", "--email=bo@north.test", "--name=Bo Ek")
	useLink(t, p, linkOf(t, p, c))
	stands(t, sut.Want[sut.SignIn](t, http.StatusCreated, begin(p, "bo@north.test", newPassword)), "enroll")
	p.Operate(1, "admin", "create", "--portal=north", "--email=Bo@North.test", "--name=Bo Ek")
	for _, action := range []string{"portal_created", "settings_changed"} {
		if n := len(export(t, p, "north", "--action="+action)); n != 1 {
			t.Errorf("%d entries %s in the log of north", n, action)
		}
	}
	if n := len(export(t, p, "north", "--action=user_created")); n != 2 {
		t.Errorf("%d entries user_created in the log of north", n)
	}
	p.Operate(0, "audit", "verify")
}

// TestB40Unlock: what wrong codes have locked opens, and the log says who did it and why.
func TestB40Unlock(t *testing.T) {
	t.Parallel()
	const why = "She typed the old phone's codes."
	p := demo(t, nil)
	key, _ := p.EnrolTOTP(agent)
	s := p.BeginSignIn(agent)
	for range 5 {
		p.Do(http.MethodPost, s.Path("/verify"), s.Token, code("000000"))
	}
	sut.Expect(t, p.Do(http.MethodPost, s.Path("/verify"), s.Token, code("000000")), http.StatusTooManyRequests, "locked")
	said := p.Operate(0, "unlock", "--portal=demo", agent, "--reason="+why).Stdout()
	if !strings.Contains(said, "authenticator of "+agent) || !strings.Contains(said, "open now") {
		t.Errorf("it says: %s", said)
	}
	s = p.BeginSignIn(agent)
	sut.Expect(t, p.Do(http.MethodPost, s.Path("/verify"), s.Token, code("000000")), http.StatusUnprocessableEntity, "invalid_code")
	p.SignInTOTP(agent, key)
	logged(t, p, "demo", "factor_unlocked", why)
	if said := p.Operate(0, "unlock", "--portal=demo", agent, "--reason="+why).Stdout(); !strings.Contains(said, "Nothing of "+agent+" is locked") {
		t.Errorf("of what is open it says: %s", said)
	}
	logged(t, p, "demo", "factor_unlocked", why)
}

// TestB40AuditVerify: what is whole is said to be, and a head that was kept elsewhere must still be there.
func TestB40AuditVerify(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolTOTP(agent)
	said := p.Operate(0, "audit", "verify").Stdout()
	head := regexp.MustCompile(`head (\d+:[0-9a-f]{64})`).FindStringSubmatch(said)
	if head == nil {
		t.Fatalf("no head:\n%s", said)
	}
	p.Operate(0, "audit", "verify", "--portal=demo", "--expect="+head[1])
	p.Operate(1, "audit", "verify", "--portal=demo", "--expect=999:"+strings.Repeat("a", 64))
	p.Operate(1, "audit", "verify", "--portal=other")
	p.Operate(2, "audit", "verify", "--expect="+head[1])
	p.Operate(2, "audit", "verify", "--portal=demo", "--expect=nonsense")
	var verdicts []struct {
		Portal, Head string
		Intact       bool
		Entries      int
	}
	if err := json.Unmarshal([]byte(p.Operate(0, "audit", "verify", "--json").Stdout()), &verdicts); err != nil {
		t.Fatal(err)
	}
	if len(verdicts) != 1 || verdicts[0].Portal != "demo" || !verdicts[0].Intact || verdicts[0].Entries == 0 {
		t.Errorf("%+v", verdicts)
	}
	csv := p.Operate(0, "audit", "export", "--portal=demo", "--user="+agent).Stdout()
	if !strings.HasPrefix(csv, "seq,at,action,") || !strings.Contains(csv, "enrolment_confirmed") || strings.Contains(csv, "settings_changed") {
		t.Errorf("the export about one person:\n%s", csv)
	}
	if n := len(export(t, p, "demo", "--to=2020-01-01")); n != 0 {
		t.Errorf("%d entries of before 2020", n)
	}
	p.Operate(2, "audit", "export", "--portal=demo", "--from=yesterday")
	p.Operate(2, "audit", "export", "--portal=demo", "--action=nonsense")
	p.Operate(1, "audit", "export", "--portal=other")

	// Another installation's store is not mistaken for this one.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.MkdirAll(filepath.Join(other, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	exits(t, 2, "sallyport", nil, "audit", "verify", "--data="+other, "--store="+p.StoreAddr())
}
