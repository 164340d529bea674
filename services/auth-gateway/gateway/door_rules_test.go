package gateway

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

func TestOnlyPlainReturnURLsAreRegistered(t *testing.T) {
	for _, good := range []string{
		"https://portal.example.com/after", "https://portal.example.com", "https://portal.example.com:8443/a/b?tab=1&x=%2F", "http://127.0.0.1:7000/after", "http://localhost/after", "http://[::1]:7000/",
	} {
		if err := checkReturnURL(good); err != nil {
			t.Errorf("%q was refused: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "/after", "portal.example.com", "//portal.example.com/", "http://portal.example.com/", "http://10.0.0.1/", "https:portal.example.com", "https:///after", "https://", "https://:443/",
		"https://a@portal.example.com/", "https://a:b@portal.example.com/", "https://portal.example.com/#x", "https://portal.example.com/#", "https://Portal.example.com/", "HTTPS://portal.example.com/",
		"https://portal.example.com:443/", "https://portal.example.com:/", "http://localhost:80/", "https://portal.example.com/a b", "https://portal.example.com\\@evil.test/", "https://portal.example.com/\n",
		"https://pörtal.example.com/", "https://portal.example.com/\x00", "javascript:alert(1)", "data:text/html,x", "ftp://portal.example.com/", "https://portal.example.com/?sign_in=x", "https://portal.example.com/?a=1&state=", "https://portal.example.com/?code=1",
		"https://portal.example.com/?status=complete", "https://portal.example.com/<script>", "https://portal.example.com/" + strings.Repeat("a", 1024), " https://portal.example.com/", "https://portal.example.com/%zz",
	} {
		if checkReturnURL(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzReturnURL(f *testing.F) {
	for _, s := range []string{"https://portal.example.com/after?tab=1", "http://127.0.0.1:7000/", "https://a@b/", "https://b\\@c/", "https://b/#"} {
		f.Add(s, "x&y=z#")
	}
	now := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw, state string) {
		if checkReturnURL(raw) != nil {
			return
		}
		at, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q was taken: %v", raw, err)
		}
		to := signIn{ID: "ID", Status: StatusComplete, ExpiresAt: now, Door: &doorway{ReturnURL: raw, State: state}}.back(now, "si_"+strings.Repeat("A", 26)+"_"+strings.Repeat("B", 26))
		back, err := url.Parse(to)
		if err != nil || back.Scheme != at.Scheme || back.Host != at.Host || back.Path != at.Path || back.User != nil || back.Fragment != "" {
			t.Fatalf("%q leads back to %q (%v)", raw, to, err)
		}
		if !strings.HasPrefix(to, raw) || strings.ContainsAny(to, "\r\n \"<>#") {
			t.Fatalf("%q leads back to %q", raw, to)
		}
		if q, err := url.ParseQuery(back.RawQuery); err == nil && (q.Get("sign_in") != "ID" || q.Get("state") != state) {
			t.Fatalf("%q leads back to %q", raw, to)
		}
	})
}

func TestWhoseAccountAnAddressIs(t *testing.T) {
	const app, at = "portal", "dana@northwind.test"
	doors := func(id string) map[string]string { return map[string]string{app: subjectKey(app, id)} }
	sure := visitor{ID: "1", Email: at, EmailVerified: true}
	unsure := visitor{ID: "1", Email: at}
	for name, c := range map[string]struct {
		u    user
		v    visitor
		bind bool
		code contract.Code
	}{
		"their own, by the id":                    {user{Doors: doors("1")}, unsure, false, ""},
		"their own, before there were ids":        {user{Doors: doors(at)}, sure, true, ""},
		"one of that time, by the address alone":  {user{Doors: doors(at)}, unsure, false, contract.Conflict},
		"one with a password, and sure":           {user{Password: "hash"}, sure, true, ""},
		"one with a password, and not":            {user{Password: "hash"}, unsure, false, contract.Conflict},
		"one that another app made, sure of it":   {user{Doors: map[string]string{"other": subjectKey("other", "1")}}, sure, true, ""},
		"one that another app made, and did not":  {user{Unverified: true, Doors: map[string]string{"other": subjectKey("other", "1")}}, sure, false, contract.Conflict},
		"another id's":                            {user{Doors: doors("2")}, sure, false, contract.Conflict},
		"the same id's of another app":            {user{Doors: map[string]string{app: subjectKey("other", "1")}}, sure, false, contract.Conflict},
		"a Master Admin's":                        {user{MasterAdmin: true}, sure, false, contract.Forbidden},
		"a Master Admin's whom the app has known": {user{MasterAdmin: true, Doors: doors("1")}, sure, false, contract.Forbidden},
		"a federated person's":                    {user{Federated: true}, sure, false, contract.Forbidden},
		"a disabled person's":                     {user{Disabled: true, Doors: doors("1")}, sure, false, contract.Forbidden},
		"an organization's admin's":               {user{OrganizationAdmin: true}, sure, true, ""},
	} {
		bind, err := c.u.meets(app, c.v)
		if bind != c.bind || c.code == "" && err != nil || c.code != "" && (err == nil || contract.CodeOf(err) != c.code) {
			t.Errorf("%s: %t, %v", name, bind, err)
		}
	}
}

func TestNobodyIsAnAdminAtTheDoor(t *testing.T) {
	u := user{MasterAdmin: true, OrganizationAdmin: true, Password: "hash"}
	at := signIn{Door: &doorway{}}
	if p := at.sees(u); p.MasterAdmin || p.OrganizationAdmin {
		t.Error("the door makes admins")
	}
	if p := (signIn{}).sees(u); !p.MasterAdmin || !p.OrganizationAdmin {
		t.Error("a password makes none")
	}
	if !at.shutTo(user{MasterAdmin: true}) || !at.shutTo(user{Federated: true}) || at.shutTo(user{}) || !(signIn{}).shutTo(user{}) {
		t.Error("a door is open that is none, or the other way round")
	}
}

func TestNoAdminEnrolsAtTheDoor(t *testing.T) {
	at, here := signIn{Door: &doorway{}}, signIn{}
	boss, contact := user{OrganizationAdmin: true}, user{}
	enrol, challenge := contract.Decision{Action: contract.Enroll, CanSkip: true}, contract.Decision{Action: contract.Challenge}
	if contract.CodeOf(at.enrols(boss, enrol)) != contract.Forbidden {
		t.Error("an organization's admin enrols by the word of an API key")
	}
	if at.enrols(boss, challenge) != nil || at.enrols(contact, enrol) != nil || here.enrols(boss, enrol) != nil {
		t.Error("somebody else is refused")
	}
}

func TestAPortalMovesNoAdmin(t *testing.T) {
	v := visitor{Email: "new@acme.test", EmailVerified: true, Name: "New", Audience: contract.Organization, Organization: "Globex"}
	u := user{Email: "old@acme.test", Audience: contract.Organization, Organization: "Acme", OrganizationAdmin: true}
	if m, err := u.inStep(v); err != nil || m.Email != nil || m.Organization != nil || *m.Name != "New" || m.OrganizationAdmin != nil || m.Disabled != nil {
		t.Errorf("%+v, %v", m, err)
	}
	u.OrganizationAdmin = false
	if m, err := u.inStep(v); err != nil || *m.Email != v.Email || *m.Organization != "Globex" {
		t.Errorf("%+v, %v", m, err)
	}
	typed := v
	typed.EmailVerified = false
	if m, err := u.inStep(typed); err != nil || m.Email != nil || *m.Name != "New" {
		t.Errorf("an address that somebody typed: %+v, %v", m, err)
	}
	u.Audience = contract.Internal
	if _, err := u.inStep(v); contract.CodeOf(err) != contract.Conflict {
		t.Errorf("another audience: %v", err)
	}
}

func TestWhenASignInIsProof(t *testing.T) {
	now := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	s := func(status Status, done, redeemed time.Time) signIn {
		return signIn{Status: status, ExpiresAt: now.Add(time.Minute), CompletedAt: done, Door: &doorway{RedeemedAt: redeemed}}
	}
	for name, c := range map[string]struct {
		s    signIn
		code contract.Code
	}{
		"complete":           {s(StatusComplete, now.Add(1-redeemLife), time.Time{}), ""},
		"complete long ago":  {s(StatusComplete, now.Add(-redeemLife), time.Time{}), contract.Expired},
		"redeemed":           {s(StatusComplete, now, now), contract.Conflict},
		"half done":          {s(StatusChallenge, time.Time{}, time.Time{}), contract.Conflict},
		"to sign in again":   {s(StatusRelogin, time.Time{}, time.Time{}), contract.Conflict},
		"an unknown status":  {s("", now, time.Time{}), contract.Conflict},
		"half done for long": {signIn{Status: StatusEnroll, ExpiresAt: now, Door: &doorway{}}, contract.Expired},
	} {
		if err := c.s.redeemable(now); c.code == "" && err != nil || c.code != "" && (err == nil || contract.CodeOf(err) != c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProofDiesWithItsFactor(t *testing.T) {
	both := signIn{Methods: []string{byPortal, "otp"}, Enrolment: "E1"}
	one := signIn{Methods: []string{byPortal}}
	has := func(id string) contract.Decision {
		return contract.Decision{Action: contract.Challenge, Factors: []contract.FactorInfo{{Factor: contract.FactorTOTP, Enrolment: id}}}
	}
	for name, c := range map[string]struct {
		s    signIn
		d    contract.Decision
		want bool
	}{
		"the same factor":            {both, has("E1"), true},
		"another factor":             {both, has("E2"), false},
		"none any more":              {both, contract.Decision{Action: contract.Enroll}, false},
		"switched off":               {both, contract.Decision{Action: contract.Allow, Factors: has("E1").Factors}, true},
		"reset, and none is needed":  {both, contract.Decision{Action: contract.Allow}, false},
		"none needed":                {one, contract.Decision{Action: contract.Allow}, true},
		"needed by now":              {one, contract.Decision{Action: contract.Enroll}, false},
		"enrolled by somebody since": {one, has(""), false},
		"no answer":                  {both, contract.Decision{}, false},
	} {
		if c.s.stillProves(c.d) != c.want {
			t.Errorf("%s: %t", name, !c.want)
		}
	}
}

func TestOnlyTheBrowserThatWasLetInBringsItHome(t *testing.T) {
	token := "si_" + strings.Repeat("A", 26) + "_" + strings.Repeat("B", 26)
	word := homeWord(token)
	s := signIn{ID: "I", Status: StatusComplete, Door: &doorway{ReturnURL: "https://portal.example.com/", Home: hashToken(word)}}
	if !s.broughtBy(word) || !strings.HasSuffix(s.back(time.Now(), token), "&code="+word) {
		t.Error("the browser that was let in brings nothing home")
	}
	nobody := signIn{Door: &doorway{ReturnURL: s.Door.ReturnURL}} // no browser has come
	for _, odd := range []string{"", "I", token, strings.ToUpper(word), word[1:], homeWord(strings.Replace(token, "B", "C", 1))} {
		if s.broughtBy(odd) || nobody.broughtBy(odd) {
			t.Errorf("%q is taken", odd)
		}
	}
	if nobody.broughtBy(homeWord("")) || strings.Contains(token, word) {
		t.Error("a word is worth more than it should be")
	}
	s.Status = StatusRelogin
	if strings.Contains(s.back(time.Now(), token), "code=") {
		t.Error("a sign-in that is not complete brings a word home")
	}
	if !(signIn{Door: &doorway{}}).broughtBy("") {
		t.Error("a portal that draws the pages needs a word")
	}
}

func TestATicketIsForOnePortalAndAMinute(t *testing.T) {
	now := time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)
	s := signIn{ID: "I", Portal: "p", CreatedAt: now, Door: &doorway{ReturnURL: "https://portal.example.com/"}}
	ticket := s.issueTicket().Reveal()
	word := ticket[strings.LastIndexByte(ticket, '_')+1:]
	if !s.admits("p", word, now.Add(ticketLife-1)) {
		t.Error("a fresh ticket opens nothing")
	}
	entered := s
	entered.Door = &doorway{Ticket: s.Door.Ticket, TicketUntil: s.Door.TicketUntil, Entered: true}
	if s.admits("p", word, now.Add(ticketLife)) || s.admits("q", word, now) || s.admits("p", "", now) || entered.admits("p", word, now) || (signIn{Portal: "p"}).admits("p", word, now) {
		t.Error("a ticket opens what it must not")
	}
	drawn := signIn{Door: &doorway{}}
	if !drawn.issueTicket().Empty() || drawn.admits("", "", now) {
		t.Error("a portal that draws the pages gets a ticket")
	}
}
