package e2e

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

func TestDoorIsShutToStrangers(t *testing.T) {
	t.Parallel()
	p := demo(t, map[string]string{"PASSWORD_LIMIT_NETWORK": "off"})
	key := apiKey(p, "demo", "--name=first")
	base, _ := waiting(t)
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", base+"/after")
	body := map[string]any{"user": staff("1", "dana@northwind.test"), "return_url": base + "/after"}
	s := sends(t, p, key, staff("1", "dana@northwind.test"), base+"/after")

	_, session := p.EnrolTOTP(agent)
	half := p.BeginSignIn(second)
	other := apiKey(p, "demo", "--app=other", "--name=other")
	last := key[len(key)-1:]
	twisted := key[:len(key)-1] + map[bool]string{true: "B", false: "A"}[last == "A"]
	for name, token := range map[string]string{
		"none": "", "a session": session, "a half-done sign-in": half.Token, "its own token": s.Token, "a made-up key": "sp_AAAAAAAAAAAAAAAAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAA",
		"a twisted key": twisted, "half a key": key[:len(key)-1], "a lower-case key": strings.ToLower(key), "a ticket": s.URL[strings.LastIndex(s.URL, "/")+1:],
	} {
		for _, a := range []sut.Answer{p.Do("POST", "/v1/sign-ins", token, body), redeem(p, token, s.ID)} {
			if !a.Is(http.StatusUnauthorized, "unauthenticated") {
				t.Errorf("%s: %s", name, a)
			}
		}
	}
	// The key of another app knows nothing of the sign-in, and neither of a sign-in with a password does any.
	sut.Expect(t, p.Do("GET", s.Path(""), other, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, redeem(p, other, s.ID), http.StatusNotFound, "not_found")
	sut.Expect(t, p.Do("GET", half.Path(""), key, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, redeem(p, key, half.ID), http.StatusNotFound, "not_found")
	// And a key is nothing but that: no session, and no token of a sign-in.
	for _, route := range []string{"GET /v1/session", "GET /v1/account", "GET /v1/admin/users", "POST " + s.Path("/enrollment"), "POST " + s.Path("/verify")} {
		method, path, _ := strings.Cut(route, " ")
		if a := p.Do(method, path, key, map[string]string{}); a.Status != http.StatusUnauthorized && a.Status != http.StatusUnprocessableEntity {
			t.Errorf("a key at %s: %s", route, a)
		}
	}
	sut.Expect(t, p.Do("POST", s.Path("/verify"), key, code("123456")), http.StatusUnauthorized, "unauthenticated")

	for _, odd := range []string{
		"https://evil.test/", base, base + "/", base + "/after/", base + "/after?", base + "/after#", base + "/after?x=1", base + "/After", base + "/./after", base + "/%61fter", base + "//after",
		strings.Replace(base, "http://", "http://a@", 1) + "/after", strings.Replace(base, "http:", "HTTP:", 1) + "/after", strings.Replace(base, "127.0.0.1", "localhost", 1) + "/after",
		strings.TrimPrefix(base, "http:") + "/after", "/after", "//evil.test", "javascript:alert(1)", base + "/after\n", " " + base + "/after", base + "/after\x00", base + "\\@evil.test/after", base + ".evil.test/after",
	} {
		a := p.Do("POST", "/v1/sign-ins", key, map[string]any{"user": staff("1", "dana@northwind.test"), "return_url": odd})
		if !a.Is(http.StatusUnprocessableEntity, "invalid_request") || a.Problem().Errors[0].Field != "return_url" {
			t.Errorf("return_url %q: %s", odd, a)
		}
	}
	for _, odd := range []string{
		"https://evil.test/#x", "http://portal.example.com/", "https://a:b@portal.example.com/", "javascript:alert(1)", "https:portal.example.com", "//portal.example.com/", "/after",
		"https://Portal.example.com/", "https://portal.example.com:443/", "https://portal.example.com/a b", "https://portal.example.com/?sign_in=1", "https://portal.example.com\\@evil.test/", "https://", "ftp://portal.example.com/",
	} {
		p.Operate(2, "portal", "return-url", "add", "--portal=demo", odd)
	}
	for name, odd := range map[string]map[string]any{
		"no address": {"id": "1", "audience": "internal"}, "a bad address": {"id": "1", "email": "nobody", "audience": "internal"}, "no audience": {"id": "1", "email": "x@y.test"},
		"a made-up audience": {"id": "1", "email": "x@y.test", "audience": "root"}, "an organization of an internal user": {"id": "1", "email": "x@y.test", "audience": "internal", "organization": "Acme"},
		"a contact of nobody": {"id": "1", "email": "x@y.test", "audience": "organization"}, "rights": {"id": "1", "email": "x@y.test", "audience": "internal", "master_admin": true},
		"an id of two lines": {"id": "1\n2", "email": "x@y.test", "audience": "internal"}, "federated": {"id": "1", "email": "x@y.test", "audience": "internal", "federated": true},
	} {
		if a := p.Do("POST", "/v1/sign-ins", key, map[string]any{"user": odd}); !a.Is(http.StatusUnprocessableEntity, "invalid_request") {
			t.Errorf("%s: %s", name, a)
		}
	}
	if a := p.Do("POST", "/v1/sign-ins", key, map[string]any{"user": staff("1", "dana@northwind.test"), "email": agent, "password": sut.DemoPassword}); !a.Is(422, "invalid_request") {
		t.Errorf("both ways at once: %s", a)
	}

	// A revoked key is dead at once.
	for _, k := range listed(t, p) {
		if k.Name == "first" {
			p.Operate(0, "portal", "key", "revoke", "--portal=demo", "--id="+k.ID)
			p.Operate(1, "portal", "key", "revoke", "--portal=demo", "--id="+k.ID)
		}
	}
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", key, body), http.StatusUnauthorized, "unauthenticated")
	sut.Expect(t, p.Do("GET", s.Path(""), key, nil), http.StatusUnauthorized, "unauthenticated")
	metrics := p.Metrics()
	for _, seen := range []string{"bad_key", "begun", "turned", "unproved"} {
		if !regexp.MustCompile(`(?m)^sallyport_gateway_door_passages_total\{[^}]*event="` + seen + `"[^}]*\} [1-9]`).MatchString(metrics) {
			t.Errorf("the metrics do not count what is %s", seen)
		}
	}
	if !strings.Contains(p.Output(), `"at the portal door"`) || !strings.Contains(p.Output(), `"event":"bad_key"`) {
		t.Error("the log does not say that a key was refused")
	}
	if strings.Contains(p.Output(), key) || strings.Contains(p.Output(), s.Token) {
		t.Error("the log has a key or a token")
	}
}

func TestDoorTicketOpensOnce(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo")
	base, _ := waiting(t)
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", base+"/after")
	ticketOf := func(s doorSignIn) string { return s.URL[strings.LastIndex(s.URL, "/")+1:] }

	s := sends(t, p, key, staff("1", "dana@northwind.test"), base+"/after")
	// Whoever only looks at the link spends nothing.
	for range 3 {
		newVisitor(t, p).get(strings.TrimPrefix(s.URL, p.Base))
	}
	v, thief := newVisitor(t, p), newVisitor(t, p)
	thief.get(strings.TrimPrefix(s.URL, p.Base))
	v.through(s)
	v.at("/sign-in/enroll")
	thief.post("/sign-in/door", form{"ticket": ticketOf(s)})
	if thief.page.status != http.StatusGone || thief.cookieValue("sallyport_sign_in") != "" {
		t.Errorf("a ticket that was used: %d", thief.page.status)
	}
	thief.get(strings.TrimPrefix(s.URL, p.Base))
	if thief.page.status != http.StatusGone {
		t.Errorf("the link of a ticket that was used: %d", thief.page.status)
	}

	// Twenty at the same time: one.
	s = sends(t, p, key, staff("1", "dana@northwind.test"), base+"/after")
	var group sync.WaitGroup
	in := make(chan string, 20)
	for range 20 {
		one := newVisitor(t, p)
		one.get(strings.TrimPrefix(s.URL, p.Base))
		group.Go(func() {
			one.post("/sign-in/door", form{"ticket": ticketOf(s)})
			if token := one.cookieValue("sallyport_sign_in"); token != "" {
				in <- token
			}
		})
	}
	group.Wait()
	if len(in) != 1 {
		t.Errorf("one ticket let %d browsers in", len(in))
	}

	// A minute later, without the form's token, and in another sign-in's name.
	s = sends(t, p, key, staff("1", "dana@northwind.test"), base+"/after")
	late := newVisitor(t, p)
	late.get(strings.TrimPrefix(s.URL, p.Base))
	forger := newVisitor(t, p)
	forger.post("/sign-in/door", form{"ticket": ticketOf(s)})
	if forger.page.status != http.StatusForbidden {
		t.Errorf("a form from elsewhere: %d", forger.page.status)
	}
	p.Advance(61 * time.Second)
	late.post("/sign-in/door", form{"ticket": ticketOf(s)})
	if late.page.status != http.StatusGone || late.cookieValue("sallyport_sign_in") != "" {
		t.Errorf("a ticket after a minute: %d", late.page.status)
	}
	a, b := sends(t, p, key, staff("1", "dana@northwind.test"), base+"/after"), sends(t, p, key, staff("2", "eve@northwind.test"), base+"/after")
	mixed := strings.Replace(ticketOf(a), a.ID, b.ID, 1)
	late.get(strings.TrimPrefix(a.URL, p.Base))
	late.post("/sign-in/door", form{"ticket": mixed})
	if late.page.status != http.StatusGone {
		t.Errorf("a ticket of two halves: %d", late.page.status)
	}
	sut.Expect(t, p.Do("GET", a.Path(""), ticketOf(a), nil), http.StatusUnauthorized, "unauthenticated")
}

func TestDoorRedeemsOnce(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo")
	s := sends(t, p, key, staff("1", "dana@northwind.test"), "")
	e := enrolment(t, p, s.SignIn)
	sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	answers := make([]sut.Answer, 20)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() { answers[i], _ = p.Try(t.Context(), "POST", s.Path("/redeem"), key, nil) })
	}
	group.Wait()
	right := 0
	for _, a := range answers {
		switch {
		case a.Status == 200:
			right++
		case !a.Is(http.StatusConflict, "conflict"):
			t.Errorf("%s", a)
		}
	}
	if right != 1 {
		t.Errorf("one sign-in proved %d times who came", right)
	}
	// Nor is somebody proof whose factor was reset, or who was disabled, after they came.
	s = sends(t, p, key, staff("1", "dana@northwind.test"), "")
	done := p.Verify(s.SignIn, p.Code(e.Key))
	id := who(t, p, done.Session.Token).User.ID
	masterKey, master := p.EnrolTOTP(admin)
	p.StepUp(master, masterKey)
	sut.Expect(t, p.Do("POST", "/v1/admin/users/"+id+"/reset-second-factor", master, map[string]any{"reason": "phone lost"}), http.StatusNoContent, "")
	sut.Expect(t, redeem(p, key, s.ID), http.StatusGone, "expired")
	s = sends(t, p, key, staff("1", "dana@northwind.test"), "")
	e = enrolment(t, p, s.SignIn)
	sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	sut.Expect(t, p.Do("PATCH", "/v1/admin/users/"+id, master, map[string]any{"disabled": true}), 200, "")
	sut.Expect(t, redeem(p, key, s.ID), http.StatusGone, "expired")
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", key, map[string]any{"user": staff("1", "dana@northwind.test")}), http.StatusForbidden, "forbidden")
}

// TestB11DoorAndPasswordAreOneAccount: who has an account here already keeps it, with its factor, where the portal vouches
// for the address; and nobody gets anybody else's.
func TestB11DoorAndPasswordAreOneAccount(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, other := apiKey(p, "demo"), apiKey(p, "demo", "--app=other")
	secret, _ := p.EnrolTOTP(agent)
	begin := func(key string, user map[string]any) sut.Answer {
		return p.Do("POST", "/v1/sign-ins", key, map[string]any{"user": user})
	}
	verified := func(id, email string) map[string]any {
		u := staff(id, email)
		u["email_verified"] = true
		return u
	}
	// An address that somebody only typed at the portal takes nobody's account.
	sut.Expect(t, begin(key, staff("7", agent)), http.StatusConflict, "conflict")
	sut.Expect(t, begin(key, verified("7", admin)), http.StatusForbidden, "forbidden")
	sut.Expect(t, begin(key, verified("7", entra)), http.StatusForbidden, "forbidden")
	own := verified("7", owner)
	own["audience"], own["organization"] = "organization", "Globex"
	sut.Expect(t, begin(key, own), http.StatusForbidden, "forbidden") // a key enrols no admin
	p.EnrolSMS(owner, ownerPhone)
	p.Advance(time.Minute)
	texts := len(p.Messages(ownerPhone))
	boss := sut.Want[sut.SignIn](t, 201, begin(key, own))
	if boss.Status != "challenge" || boss.Factor != "sms" {
		t.Errorf("an organization's admin: %+v", boss)
	}
	bossIn := p.Verify(boss, p.CodeAfter(ownerPhone, texts))

	s := sut.Want[sut.SignIn](t, 201, begin(key, verified("8", agent)))
	stands(t, s, "challenge")
	done := p.Verify(s, p.Code(secret))
	if got := who(t, p, done.Session.Token); got.User.Email != agent {
		t.Errorf("the session is %+v", got)
	}
	stands(t, p.BeginSignIn(agent), "challenge") // the password works as before
	sut.Expect(t, begin(key, verified("9", agent)), http.StatusConflict, "conflict")
	// Another app with ids of its own: the same person, by the address.
	stands(t, sut.Want[sut.SignIn](t, 201, begin(other, verified("x", agent))), "challenge")
	// Its id is nobody's in the first app, whatever it looks like.
	sut.Expect(t, begin(other, staff("8", agent)), http.StatusConflict, "conflict")

	// Who lies in wait under an address gets nobody: the account that was made without a word about it is not shared.
	sut.Want[sut.SignIn](t, 201, begin(key, staff("spider", "fly@northwind.test")))
	sut.Expect(t, begin(other, verified("fly", "fly@northwind.test")), http.StatusConflict, "conflict")
	// Nor does an address that the portal changes: one that was only typed is not taken over, be it somebody's or nobody's.
	sut.Expect(t, begin(key, verified("spider", second)), http.StatusConflict, "conflict")
	sut.Expect(t, begin(key, verified("spider", agent)), http.StatusConflict, "conflict")
	for _, typed := range []string{second, agent, "nobody@northwind.test"} {
		sut.Want[sut.SignIn](t, 201, begin(key, staff("spider", typed)))
	}
	sut.Want[sut.SignIn](t, 201, begin(other, verified("n", "nobody@northwind.test")))
	// An app that begins to give ids says that the address is verified.
	sut.Want[sut.SignIn](t, 201, begin(key, staff("", "early@northwind.test")))
	sut.Expect(t, begin(key, staff("e", "early@northwind.test")), http.StatusConflict, "conflict")
	sut.Want[sut.SignIn](t, 201, begin(key, verified("e", "early@northwind.test")))

	// An organization's admin is an admin here, not at the door, and the portal moves them nowhere.
	masterKey, master := p.EnrolTOTP(admin)
	p.StepUp(master, masterKey)
	list := sut.Want[struct{ Items []sut.User }](t, 200, p.Do("GET", "/v1/admin/users?query="+owner, master, nil))
	if i := slices.IndexFunc(list.Items, func(u sut.User) bool { return u.Email == owner }); i < 0 || list.Items[i].Organization != "Acme" || !list.Items[i].OrganizationAdmin {
		t.Errorf("after the door the organization's admin is %+v", list.Items)
	}
	sut.Expect(t, p.Do("GET", "/v1/admin/users", bossIn.Session.Token, nil), http.StatusForbidden, "forbidden")
	if got := who(t, p, bossIn.Session.Token); got.User.OrganizationAdmin {
		t.Errorf("the session of a door has rights: %+v", got)
	}

	// Deleted here, they are a stranger at the portal's next word.
	s = sut.Want[sut.SignIn](t, 201, begin(key, staff("d", "del@northwind.test")))
	e := enrolment(t, p, s)
	done = sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, code(p.Code(e.Key))))
	id := who(t, p, done.Session.Token).User.ID
	sut.Expect(t, p.Do("DELETE", "/v1/admin/users/"+id, master, map[string]any{"reason": "gone"}), http.StatusNoContent, "")
	stands(t, sut.Want[sut.SignIn](t, 201, begin(key, staff("d", "del@northwind.test"))), "enroll")
}

// TestDoorTwinsAreOneAccount: a person whom the portal sends several times at once, at their first visit, has one account.
func TestDoorTwinsAreOneAccount(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo")
	answers := make([]sut.Answer, 10)
	var group sync.WaitGroup
	for i := range answers {
		group.Go(func() {
			answers[i], _ = p.Try(t.Context(), "POST", "/v1/sign-ins", key, map[string]any{"user": staff("1", "dana@northwind.test")})
		})
	}
	group.Wait()
	begun := 0
	for _, a := range answers {
		switch {
		case a.Status == http.StatusCreated:
			begun++
		case !a.Is(http.StatusServiceUnavailable, "unavailable"): // as on any machine that is busy
			t.Errorf("%s", a)
		}
	}
	if begun == 0 {
		t.Error("none of them could begin")
	}
	masterKey, master := p.EnrolTOTP(admin)
	p.StepUp(master, masterKey)
	if list := sut.Want[struct{ Items []sut.User }](t, 200, p.Do("GET", "/v1/admin/users?query=dana", master, nil)); len(list.Items) != 1 {
		t.Errorf("there are %d accounts: %+v", len(list.Items), list.Items)
	}
}

// TestDoorsOfTwoPortalsAreApart: a key opens its own portal and no other (B36).
func TestDoorsOfTwoPortalsAreApart(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.Operate(0, "portal", "create", "--id=globe", "--name=Globe", "--url=http://localhost:1", "--admin-email=boss@globe.test", "--admin-name=Boss")
	key, there := apiKey(p, "demo"), apiKey(p, "globe")
	globe := p.At("localhost")
	sut.Eventually(t, 30*time.Second, "the new portal is seen", func() bool {
		a, err := globe.Try(t.Context(), "POST", "/v1/sign-ins", there, map[string]any{"user": staff("1", "dana@northwind.test")})
		return err == nil && a.Status == http.StatusCreated
	})
	a := sends(t, p, key, staff("1", "dana@northwind.test"), "")
	sut.Expect(t, globe.Do("POST", "/v1/sign-ins", key, map[string]any{"user": staff("1", "dana@northwind.test")}), http.StatusUnauthorized, "unauthenticated")
	sut.Expect(t, p.Do("POST", "/v1/sign-ins", there, map[string]any{"user": staff("1", "dana@northwind.test")}), http.StatusUnauthorized, "unauthenticated")
	sut.Expect(t, globe.Do("GET", a.Path(""), there, nil), http.StatusNotFound, "not_found")
	sut.Expect(t, globe.Do("POST", a.Path("/redeem"), there, nil), http.StatusNotFound, "not_found")
	p.Operate(1, "portal", "key", "create", "--portal=nowhere")
	p.Operate(1, "portal", "return-url", "add", "--portal=nowhere", "https://portal.example.com/after")
}

// TestDoorALinkHandedOverProvesNothing: who has a stolen password begins at the portal, keeps the sign-in in their own
// browser, and has the owner give the code behind the link. The portal would redeem it for the browser that began; what
// it needs for that has come to the owner's browser alone.
func TestDoorALinkHandedOverProvesNothing(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key := apiKey(p, "demo")
	base, came := waiting(t)
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", base+"/after")

	// At the first time, and where a code is asked for.
	var secret string
	for _, step := range []func(*visitor){
		func(owner *visitor) { secret = owner.setUp(p); owner.brings() },
		func(owner *visitor) { owner.post("/sign-in/code", form{"code": p.Code(secret)}) },
	} {
		p.Advance(time.Minute)
		s := sends(t, p, key, staff("4711", "dana@northwind.test"), base+"/after")
		owner := newVisitor(t, p)
		owner.through(s)
		step(owner)
		if seen := sut.Want[doorSignIn](t, 200, p.Do("GET", s.Path(""), key, nil)); seen.Status != "complete" {
			t.Fatalf("the portal sees %+v", seen)
		}
		for _, guess := range []string{"", s.ID, s.Token, s.Token[strings.LastIndex(s.Token, "_")+1:], s.URL[strings.LastIndex(s.URL, "_")+1:], strings.Repeat("0", 32)} {
			for _, a := range []sut.Answer{redeem(p, key, s.ID), redeem(p, key, s.ID, guess)} {
				if !a.Is(http.StatusForbidden, "forbidden") {
					t.Errorf("a code of %d characters: %s", len(guess), a)
				}
			}
		}
		// The attacker's link and token are dead, and the way home is the owner's.
		attacker := newVisitor(t, p)
		attacker.get(strings.TrimPrefix(s.URL, p.Base))
		if attacker.page.status != http.StatusGone {
			t.Errorf("the link of a ticket that was used: %d", attacker.page.status)
		}
		attacker.get("/sign-in/back")
		if strings.Contains(attacker.page.body, "code=") {
			t.Error("the attacker is led home")
		}
		if owner.page.path == "/sign-in/back" {
			owner.home("You are signed in")
			word := came().Get("code")
			sut.Want[proof](t, 200, redeem(p, key, s.ID, word)) // wrong ones spent nothing
			sut.Expect(t, redeem(p, key, s.ID, word), http.StatusConflict, "conflict")
			if strings.Contains(p.Output(), word) {
				t.Error("the log has what redeems a sign-in")
			}
		}
	}
	// A person of whom nothing is asked.
	contact := map[string]any{"id": "c1", "email": "rosa@initech.test", "audience": "organization", "organization": "Initech"}
	s := sends(t, p, key, contact, "")
	stands(t, sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil)), "complete")
	s = sends(t, p, key, contact, base+"/after")
	sut.Expect(t, redeem(p, key, s.ID), http.StatusForbidden, "forbidden")
	v := newVisitor(t, p)
	v.through(s)
	sut.Expect(t, redeem(p, key, s.ID), http.StatusForbidden, "forbidden")
	v.home("You are signed in")
	sut.Want[proof](t, 200, redeem(p, key, s.ID, came().Get("code")))
}
