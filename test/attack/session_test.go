package attack

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// promised is how soon every gateway knows that a session has ended. A machine on which other tests run can stand still
// for longer than that, so hearsWithin is when a session that still lives has failed a test; that most are in time is looked
// at where there are many.
const promised, hearsWithin = time.Second, 5 * time.Second

// ended fails the test unless a session is dead soon, for the API and for pages. It returns how long it was heard to live.
func ended(t *testing.T, p *sut.Product, session string) time.Duration {
	t.Helper()
	begun, lived := time.Now(), time.Duration(0)
	for slowest := time.Duration(0); ; {
		asked := time.Since(begun)
		a := p.Who(session)
		if slowest = max(slowest, a.Took); a.Status == http.StatusUnauthorized {
			break
		}
		if lived = asked; lived > hearsWithin+slowest {
			t.Fatalf("after %v, with answers that took %v at most, the session is not dead: %s", lived, slowest, a)
		}
	}
	if a := as(t, p, session).get("/account"); a.Status != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/sign-in?") {
		t.Errorf("as a cookie it opens the account: status %d", a.Status)
	}
	return lived
}

// lives returns what a session says of itself, which must live.
func lives(t *testing.T, p *sut.Product, session string) sut.Session {
	t.Helper()
	return sut.Want[sut.Session](t, http.StatusOK, p.Who(session))
}

// TestRule12IdsOfClientsAreNotAdopted plants cookies in a browser before its owner signs in: made-up ones, and those of the
// attacker's own sign-in and session. What the owner then has is new, and what was planted opens nothing of theirs.
func TestRule12IdsOfClientsAreNotAdopted(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	amirs, mallory := p.EnrolTOTP(amir)
	svens, _ := p.EnrolTOTP(sven)
	half := p.BeginSignIn(amir) // the attacker is Amir
	madeUp := strings.Repeat("A", 26) + "_" + strings.Repeat("B", 26)
	for name, planted := range map[string]map[string]string{
		"made up":          {"session": "se_" + madeUp, "sign_in": "si_" + madeUp, "form": strings.Repeat("A", 26)},
		"the attacker's":   {"session": mallory, "sign_in": half.Token, "form": strings.Repeat("A", 26)},
		"of the wrong use": {"session": half.Token, "sign_in": mallory, "form": strings.Repeat("A", 26)},
		"nonsense":         {"session": strings.Repeat("x", 4000), "sign_in": "", "form": "A"},
	} {
		victim := newGuest(t, p)
		for c, v := range planted {
			victim.cookies["sallyport_"+c] = v
		}
		if name == "nonsense" {
			delete(victim.cookies, "sallyport_form")
		}
		if a := victim.signIn(sven); a.Header.Get("Location") != "/sign-in/code" {
			t.Fatalf("%s: signing in: status %d, to %q", name, a.Status, a.Header.Get("Location"))
		}
		signIn := victim.cookie("sign_in")
		if a := victim.post("/sign-in/code", "code", p.Code(svens)); a.Header.Get("Location") != "/account" {
			t.Fatalf("%s: the code: status %d, to %q", name, a.Status, a.Header.Get("Location"))
		}
		session := victim.cookie("session")
		for c, v := range planted {
			if v == session || v == signIn {
				t.Errorf("%s: the %s that was planted is the victim's now", name, c)
			}
		}
		if part := strings.Split(session, "_"); slices.ContainsFunc(part[1:], func(s string) bool { return strings.Contains(signIn, s) }) {
			t.Errorf("%s: the session's id or secret is the sign-in's", name)
		}
		if s := lives(t, p, session); s.User.Email != sven {
			t.Errorf("%s: the victim is signed in as %s", name, s.User.Email)
		}
		sut.Expect(t, p.Who("se_"+madeUp), http.StatusUnauthorized, "unauthenticated")
		sut.Expect(t, p.Who(signIn), http.StatusUnauthorized, "unauthenticated")
		sut.Expect(t, p.Who(strings.Replace(signIn, "si_", "se_", 1)), http.StatusUnauthorized, "unauthenticated")
	}
	if s := lives(t, p, mallory); s.User.Email != amir {
		t.Errorf("the attacker's session became %s's", s.User.Email)
	}
	if s := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("GET", half.Path(""), half.Token, nil)); s.Status != "challenge" {
		t.Errorf("the attacker's sign-in went on to %q", s.Status)
	}
	// A sign-in that is complete gives its session once, and its cookie opens no second one.
	g := newGuest(t, p)
	g.signIn(amir)
	code := p.Code(amirs)
	g.post("/sign-in/code", "code", code)
	once := g.cookie("session")
	delete(g.cookies, "sallyport_session")
	for _, path := range []string{"/sign-in/code", "/sign-in/enroll", "/sign-in/done", "/account"} {
		g.get(path)
	}
	g.post("/sign-in/code", "code", code)
	if again := g.cookie("session"); again != "" || once == "" {
		t.Errorf("the sign-in's cookie opened another session: %t", again != "")
	}
}

// TestRule12OnlyOurCookiesCount: on https the cookies have names that no other host can set; those that one can set, and
// spellings that a lenient parser would take for ours, are nothing.
func TestRule12OnlyOurCookiesCount(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"PUBLIC_URL": "https://portal.test"})})
	_, session := p.EnrolTOTP(amir)
	status := func(cookie string) int {
		g := newGuest(t, p)
		g.headers["Cookie"] = cookie
		return g.get("/account").Status
	}
	const name = "__Host-sallyport_session"
	for _, cookie := range []string{
		"sallyport_session=" + session, "__Secure-sallyport_session=" + session, "__host-sallyport_session=" + session, "__HOST-SALLYPORT_SESSION=" + session,
		"\u2000" + name + "=" + session, "\u0085" + name + "=" + session, "%5f%5fHost-sallyport_session=" + session,
		"x\t" + name + "=" + session, "a=\"b; " + "x=c" + name + "=" + session + "\"", name + " x=" + session, "x, " + name + "=" + session, "x=" + name + "=" + session,
		name + "%3d" + session, name + "=se_x; sallyport_session=" + session, name + "[]=" + session,
	} {
		req := status(cookie)
		if req == http.StatusOK {
			t.Errorf("the cookie %q opens the account", strings.ReplaceAll(cookie, session, "…"))
		}
	}
	if got := status(name + "=" + session); got != http.StatusOK {
		t.Errorf("our own cookie: status %d", got)
	}
	// Nor does the API take a cookie, or a token anywhere but in its header.
	for _, h := range [][2]string{{"Cookie", name + "=" + session}, {"X-Auth-Token", session}, {"Authorization", "Basic " + session}, {"Authorization", session}, {"Proxy-Authorization", "Bearer " + session}} {
		g := newGuest(t, p)
		g.headers[h[0]] = h[1]
		if a := g.get("/v1/session?access_token=" + session + "&token=" + session); a.Status != http.StatusUnauthorized {
			t.Errorf("the API takes a token from %s: %d", h[0], a.Status)
		}
	}
	lives(t, p, session)
}

// TestRule12SessionsEndByTheClock: whatever somebody with a stolen token does to keep it alive.
func TestRule12SessionsEndByTheClock(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	key, idle := p.EnrolTOTP(amir)
	half := p.BeginSignIn(amir)
	stolen := p.SignInTOTP(amir, key)
	until := lives(t, p, stolen).ExpiresAt
	for i := 0; p.Now().Before(until.Add(-20 * time.Minute)); i++ {
		p.Advance(20 * time.Minute)
		switch i % 3 { // every use there is, a step-up and a rename among them
		case 0:
			p.StepUp(stolen, key)
		case 1:
			sut.Expect(t, p.Do("PATCH", "/v1/account/factors/totp", stolen, map[string]string{"label": "Mine"}), http.StatusNoContent, "")
		default:
			as(t, p, stolen).get("/account")
		}
		if s := lives(t, p, stolen); !s.ExpiresAt.Equal(until) {
			t.Fatalf("the session goes on until %v; it was to end at %v", s.ExpiresAt, until)
		}
		if i == 1 {
			ended(t, p, idle) // nobody used it for forty minutes
			sut.Expect(t, p.Do("POST", half.Path("/verify"), half.Token, map[string]string{"code": p.Code(key)}), http.StatusGone, "expired")
		}
	}
	p.Advance(20 * time.Minute)
	ended(t, p, stolen)
	sut.Expect(t, p.Do("POST", "/v1/session/step-up", stolen, map[string]string{"password": sut.DemoPassword, "code": p.Code(key)}), http.StatusUnauthorized, "unauthenticated")
}

// invitation is a new account as its maker sees it.
type invitation struct {
	ID           string               `json:"id"`
	PasswordLink struct{ URL string } `json:"password_link"`
}

// victim is somebody whose session an attacker holds a copy of.
type victim struct {
	id, email, key, phone string
	// own is the session in which they act, stolen another one.
	own, stolen string
}

// begun is a sign-in of somebody who chose [thePassword].
func begun(t *testing.T, p *sut.Product, email string) sut.SignIn {
	t.Helper()
	return sut.Want[sut.SignIn](t, http.StatusCreated, p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": email, "password": thePassword}))
}

// withCode is the session that they open with a code of their authenticator.
func withCode(t *testing.T, p *sut.Product, email, key string) string {
	t.Helper()
	return tokenOf(t, p.Verify(begun(t, p, email), p.Code(key)))
}

// TestRule12OldSessionsDieWithEachChange: whatever is changed about a person's proofs and rights, a session that was
// stolen before is dead within a second. Each row stands alone.
func TestRule12OldSessionsDieWithEachChange(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	adas, master := p.EnrolTOTP(ada)
	made := 0
	newcomer := func(t *testing.T, more map[string]any) victim {
		made++
		v := victim{email: fmt.Sprintf("victim%d@demo.test", made), phone: fmt.Sprintf("+1701555%04d", 7000+made)}
		body := map[string]any{"email": v.email, "name": "Vi", "audience": "internal"}
		for name, value := range more {
			body[name] = value
		}
		p.StepUp(master, adas)
		answer := sut.Want[invitation](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, body))
		v.id = answer.ID
		newGuest(t, p).choose(link(t, p, answer.PasswordLink.URL))
		return v
	}
	internal := func(t *testing.T, more map[string]any) victim {
		v := newcomer(t, more)
		s := begun(t, p, v.email)
		e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "totp"}))
		v.key = e.Key
		v.stolen = tokenOf(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/confirm"), s.Token, map[string]string{"code": p.Code(e.Key)})))
		v.own = withCode(t, p, v.email, v.key)
		return v
	}
	skipping := func(t *testing.T, more map[string]any) victim {
		v := newcomer(t, more)
		s := begun(t, p, v.email)
		v.stolen = tokenOf(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil)))
		v.own = tokenOf(t, begun(t, p, v.email))
		return v
	}
	patch := func(t *testing.T, v victim, change map[string]any) {
		p.StepUp(master, adas)
		if a := p.Do("PATCH", "/v1/admin/users/"+v.id, master, change); a.Status != http.StatusOK {
			t.Fatal(a)
		}
	}
	post := func(t *testing.T, status int, path, session string, body any) sut.Answer {
		a := p.Do("POST", path, session, body)
		if a.Status != status {
			t.Fatalf("%s; want %d", a, status)
		}
		return a
	}
	mode := func(t *testing.T, mode string) (before string) {
		p.StepUp(master, adas)
		now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", master, nil))
		before, now.Internal.Mode = now.Internal.Mode, mode
		sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", master, now))
		return before
	}
	// While a row runs a second factor is a wish: who has none may set one up, who has one may remove it.
	optional := func(t *testing.T) {
		before := mode(t, "optional")
		t.Cleanup(func() { mode(t, before) })
	}
	contact := map[string]any{"audience": "organization", "organization": "Acme"}
	admin := map[string]any{"audience": "organization", "organization": "Acme", "organization_admin": true}
	because := map[string]string{"reason": "an attack"}
	var lived []time.Duration
	for _, row := range []struct {
		name   string
		make   func(*testing.T) victim
		change func(*testing.T, *victim)
		// alone: the person's own session goes on; otherwise it ends as well.
		alone bool
	}{
		{"the authenticator is replaced", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			old := v.own
			e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", "/v1/account/factors/totp", v.own, nil))
			lives(t, p, v.stolen)
			a := sut.Want[sut.Account](t, http.StatusOK, p.Do("POST", "/v1/account/factors/totp/confirm", v.own, map[string]string{"code": p.Code(e.Key)}))
			v.own = a.Session.Token
			ended(t, p, old)
		}, true},
		{"a recovery code is spent", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			codes := sut.Want[struct{ Codes []string }](t, http.StatusOK, p.Do("POST", "/v1/account/recovery-codes", v.own, nil)).Codes
			s := begun(t, p, v.email)
			post(t, http.StatusOK, s.Path("/recover"), s.Token, map[string]string{"recovery_code": codes[3]})
		}, false},
		{"the second factor is reset", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			post(t, http.StatusNoContent, "/v1/admin/users/"+v.id+"/reset-second-factor", master, because)
		}, false},
		{"another password is chosen", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			p.StepUp(master, adas)
			l := sut.Want[struct{ URL string }](t, http.StatusCreated, p.Do("POST", "/v1/admin/users/"+v.id+"/password-link", master, nil))
			lives(t, p, v.stolen) // the link alone changes nothing
			newGuest(t, p).choose(link(t, p, l.URL))
		}, false},
		{"the account is disabled", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			patch(t, *v, map[string]any{"disabled": true})
		}, false},
		{"the account is deleted", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			p.StepUp(master, adas)
			if a := p.Do("DELETE", "/v1/admin/users/"+v.id, master, nil); a.Status != http.StatusNoContent {
				t.Fatal(a)
			}
		}, false},
		{"a Master Admin is one no more", func(t *testing.T) victim { return internal(t, map[string]any{"master_admin": true}) }, func(t *testing.T, v *victim) {
			patch(t, *v, map[string]any{"master_admin": false})
		}, false},
		{"an organization's admin is one no more", func(t *testing.T) victim { return skipping(t, admin) }, func(t *testing.T, v *victim) {
			patch(t, *v, map[string]any{"organization_admin": false})
		}, false},
		{"an organization's admin is another's", func(t *testing.T) victim { return skipping(t, admin) }, func(t *testing.T, v *victim) {
			patch(t, *v, map[string]any{"organization": "Globex"})
		}, false},
		{"a contact is another organization's", func(t *testing.T) victim { return skipping(t, contact) }, func(t *testing.T, v *victim) {
			patch(t, *v, map[string]any{"organization": "Globex"})
		}, false},
		{"an admin signs them out", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			if a := p.Do("DELETE", "/v1/admin/users/"+v.id+"/sessions", master, nil); a.Status != http.StatusNoContent {
				t.Fatal(a)
			}
		}, false},
		{"they sign the others out", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			if a := p.Do("DELETE", "/v1/account/sessions", v.own, nil); a.Status != http.StatusNoContent {
				t.Fatal(a)
			}
		}, true},
		{"they sign the others out on the page", func(t *testing.T) victim { return internal(t, nil) }, func(t *testing.T, v *victim) {
			if a := as(t, p, v.own).post("/account/sessions/sign-out-others"); a.Status != http.StatusSeeOther {
				t.Fatal(a)
			}
		}, true},
		{"text messages are enabled", func(t *testing.T) victim { return skipping(t, contact) }, func(t *testing.T, v *victim) {
			post(t, http.StatusNoContent, "/v1/account/factors/sms/enable", v.own, nil)
		}, false},
		{"a number is confirmed", func(t *testing.T) victim {
			v := newcomer(t, contact)
			s := begun(t, p, v.email) // one that will enrol, while another has declined
			late := begun(t, p, v.email)
			v.stolen = tokenOf(t, sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil)))
			v.own, v.key = late.ID, late.Token
			return v
		}, func(t *testing.T, v *victim) {
			at := "/v1/sign-ins/" + v.own + "/enrollment"
			post(t, http.StatusCreated, at, v.key, map[string]string{"factor": "sms", "phone": v.phone})
			lives(t, p, v.stolen)
			post(t, http.StatusOK, at+"/confirm", v.key, map[string]string{"code": p.LastCode(v.phone)})
			v.own = v.stolen
		}, false},
		{"a first authenticator is set up", func(t *testing.T) victim {
			optional(t)
			v := newcomer(t, nil)
			v.stolen, v.own = tokenOf(t, begun(t, p, v.email)), tokenOf(t, begun(t, p, v.email))
			return v
		}, func(t *testing.T, v *victim) {
			old := v.own
			e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", "/v1/account/factors/totp", v.own, nil))
			a := sut.Want[sut.Account](t, http.StatusOK, p.Do("POST", "/v1/account/factors/totp/confirm", v.own, map[string]string{"code": p.Code(e.Key)}))
			v.own = a.Session.Token
			ended(t, p, old)
		}, true},
		{"the authenticator is removed", func(t *testing.T) victim {
			optional(t)
			v := newcomer(t, nil)
			one := tokenOf(t, begun(t, p, v.email))
			e := sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", "/v1/account/factors/totp", one, nil))
			sut.Want[sut.Account](t, http.StatusOK, p.Do("POST", "/v1/account/factors/totp/confirm", one, map[string]string{"code": p.Code(e.Key)}))
			v.stolen, v.own = withCode(t, p, v.email, e.Key), withCode(t, p, v.email, e.Key)
			return v
		}, func(t *testing.T, v *victim) {
			if a := p.Do("DELETE", "/v1/account/factors/totp", v.own, nil); a.Status != http.StatusNoContent {
				t.Fatal(a)
			}
		}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := row.make(t)
			lives(t, p, v.stolen) // until the change it opens everything
			row.change(t, &v)
			lived = append(lived, ended(t, p, v.stolen))
			if row.alone {
				lives(t, p, v.own)
			} else if strings.HasPrefix(v.own, "se_") {
				ended(t, p, v.own)
			}
			lives(t, p, master)
		})
	}
	// One can be late on a machine that is busy; most are not.
	if slices.Sort(lived); len(lived) > 10 && lived[len(lived)/2] > promised {
		t.Errorf("half of the sessions live on for longer than %v: %v", promised, lived)
	}
}
