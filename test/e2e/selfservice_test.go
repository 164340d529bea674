package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// modes sets who must have a second factor; the session is a Master Admin's, with this key.
func modes(t *testing.T, p *sut.Product, session, key string, change func(*sut.Settings)) {
	t.Helper()
	p.StepUp(session, key)
	s := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", session, nil))
	change(&s)
	sut.Want[sut.Settings](t, http.StatusOK, p.Do("PUT", "/v1/admin/settings", session, s))
}

func account(t *testing.T, p *sut.Product, session string) sut.Account {
	t.Helper()
	return sut.Want[sut.Account](t, http.StatusOK, p.Do("GET", "/v1/account", session, nil))
}

// newTOTP begins to set up an authenticator on the account.
func newTOTP(t *testing.T, p *sut.Product, session string) sut.Enrollment {
	t.Helper()
	return sut.Want[sut.Enrollment](t, http.StatusCreated, p.Do("POST", "/v1/account/factors/totp", session, nil))
}

func confirmTOTP(p *sut.Product, session, c, label string) sut.Answer {
	return p.Do("POST", "/v1/account/factors/totp/confirm", session, map[string]string{"code": c, "label": label})
}

// TestB18ReplaceTheAuthenticator: the new one takes the place of the old one, the session rises, the others end.
func TestB18ReplaceTheAuthenticator(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, other := p.EnrolTOTP(agent)
	session := p.SignInTOTP(agent, key)
	sut.Expect(t, confirmTOTP(p, session, "123456", ""), 409, "conflict") // nothing was begun
	p.Advance(5 * time.Minute)
	sut.Expect(t, p.Do("POST", "/v1/account/factors/totp", session, nil), 403, "step_up_required")
	p.StepUp(session, key)
	e := newTOTP(t, p, session)
	if e.Key == key || len(e.QRPNG) == 0 || !strings.HasPrefix(e.OtpauthURI, "otpauth://totp/") {
		t.Errorf("the new enrolment: %q, the same key: %t", e.Factor, e.Key == key)
	}
	if again := newTOTP(t, p, session); again.Key != e.Key {
		t.Error("asked for again, the secret is another one")
	}
	// Begun in this session, it is confirmed in no other.
	sut.Expect(t, confirmTOTP(p, other, p.Code(e.Key), ""), 409, "conflict")
	sut.Expect(t, confirmTOTP(p, session, sut.WrongCode(t, e.Key, p.Now()), ""), 422, "invalid_code")
	stands(t, p.BeginSignIn(agent), "challenge")
	p.SignInTOTP(agent, key) // the old one works until the new one is confirmed
	before := who(t, p, session)

	done := sut.Want[sut.Account](t, http.StatusOK, confirmTOTP(p, session, p.Code(e.Key), "Pixel 10"))
	if done.Session == nil || len(done.Factors) != 1 || done.Factors[0].Label != "Pixel 10" {
		t.Fatalf("after the confirmation: %+v", done)
	}
	for _, token := range []string{session, other} {
		dead(t, p, token)
	}
	after := who(t, p, done.Session.Token)
	equal(t, "amr", after.AMR, []string{"pwd", "otp"})
	if !after.ExpiresAt.Equal(before.ExpiresAt) {
		t.Errorf("the session that rose ends at %v, and was to end at %v", after.ExpiresAt, before.ExpiresAt)
	}
	s := p.BeginSignIn(agent)
	sut.Expect(t, p.Do("POST", s.Path("/verify"), s.Token, code(p.Code(key))), 422, "invalid_code")
	p.SignInTOTP(agent, e.Key)
	// It is shown no more: what is asked for now is another.
	if next := newTOTP(t, p, done.Session.Token); next.Key == e.Key {
		t.Error("the secret is shown after it was confirmed")
	}
	sut.Expect(t, p.Do("DELETE", "/v1/account/factors/totp", done.Session.Token, nil), 403, "forbidden") // required
	sut.Expect(t, p.Do("DELETE", "/v1/account/factors/sms", done.Session.Token, nil), 404, "not_found")
	sut.Expect(t, p.Do("DELETE", "/v1/account/factors/fax", done.Session.Token, nil), 422, "invalid_request")
}

// TestB18EnableWhereOptional: a password five minutes old is enough to set up the first factor, and a password typed
// again is, later.
func TestB18EnableWhereOptional(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	adminKey, adminSession := p.EnrolTOTP(admin)
	modes(t, p, adminSession, adminKey, func(s *sut.Settings) { s.Internal.Mode = "optional" })
	first, late := p.BeginSignIn(agent), p.BeginSignIn(agent)
	stands(t, first, "complete")
	a := account(t, p, first.Session.Token)
	if !a.MayEnroll || a.MayRemove || a.User.Standing != "not_enrolled" {
		t.Errorf("account where it is optional: %+v", a)
	}
	newTOTP(t, p, first.Session.Token)
	p.Advance(5 * time.Minute)
	sut.Expect(t, p.Do("POST", "/v1/account/factors/totp", late.Session.Token, nil), 403, "step_up_required")
	sut.Expect(t, p.Do("POST", "/v1/session/step-up", late.Session.Token, map[string]string{"password": "wrong", "code": ""}), 401, "invalid_credentials")
	sut.Expect(t, p.Do("POST", "/v1/session/step-up", late.Session.Token, map[string]string{"password": sut.DemoPassword}), 204, "")
	e := newTOTP(t, p, late.Session.Token)
	done := sut.Want[sut.Account](t, http.StatusOK, confirmTOTP(p, late.Session.Token, p.Code(e.Key), "Pixel 9"))
	dead(t, p, first.Session.Token)
	dead(t, p, late.Session.Token)
	session := done.Session.Token
	equal(t, "amr", who(t, p, session).AMR, []string{"pwd", "otp"})
	p.SignInTOTP(agent, e.Key)

	// Contacts have text messages, and federated users their own provider.
	p.EnrolSMS(clerk, clerkPhone)
	sut.Expect(t, p.Do("POST", "/v1/account/factors/totp", p.SignInSMS(clerk, clerkPhone), nil), 403, "forbidden")
	sut.Expect(t, p.Do("POST", "/v1/account/factors/totp", p.BeginSignIn(entra).Session.Token, nil), 403, "forbidden")
}

// TestB18RenameAndRemove: a name at any time; removal where policy allows it, with a fresh proof, and without the others.
func TestB18RenameAndRemove(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	adminKey, adminSession := p.EnrolTOTP(admin)
	modes(t, p, adminSession, adminKey, func(s *sut.Settings) { s.Internal.Mode = "optional" })
	plain := p.BeginSignIn(agent).Session.Token
	rename := func(session, factor, label string) sut.Answer {
		return p.Do("PATCH", "/v1/account/factors/"+factor, session, map[string]string{"label": label})
	}
	sut.Expect(t, rename(plain, "totp", "Pixel 9"), 404, "not_found")
	e := newTOTP(t, p, plain)
	// A name is as long at the first time as later.
	long := strings.Repeat("9", 64)
	sut.Expect(t, confirmTOTP(p, plain, p.Code(e.Key), long+"9"), 422, "invalid_request")
	session := sut.Want[sut.Account](t, http.StatusOK, confirmTOTP(p, plain, p.Code(e.Key), long)).Session.Token
	sut.Expect(t, rename(session, "totp", long), 204, "")
	other := p.SignInTOTP(agent, e.Key)
	sut.Expect(t, rename(session, "totp", "  My old phone "), 204, "")
	if a := account(t, p, session); a.Factors[0].Label != "My old phone" {
		t.Errorf("the device is called %q", a.Factors[0].Label)
	}
	sut.Expect(t, rename(session, "totp", strings.Repeat("é", 64)), 204, "")
	sut.Expect(t, rename(session, "totp", strings.Repeat("x", 65)), 422, "invalid_request")
	sut.Expect(t, rename(session, "sms", "x"), 404, "not_found")
	who(t, p, other) // a name ends nothing

	p.Advance(5 * time.Minute)
	sut.Expect(t, p.Do("DELETE", "/v1/account/factors/totp", session, nil), 403, "step_up_required")
	p.StepUp(session, e.Key)
	sut.Expect(t, p.Do("DELETE", "/v1/account/factors/totp", session, nil), 204, "")
	dead(t, p, other)
	who(t, p, session)
	sut.Expect(t, p.Do("DELETE", "/v1/account/factors/totp", session, nil), 404, "not_found")
	if a := account(t, p, session); len(a.Factors) != 0 || a.User.Standing != "not_enrolled" || a.Reset != nil {
		t.Errorf("account after the removal: %+v", a)
	}
	stands(t, p.BeginSignIn(agent), "complete")
	who(t, p, session) // and it stays: the news of the removal does not end it later
}

// TestB22EnableSMS: the skip is forgotten, the person is signed out, and enrolment begins at the next sign-in.
func TestB22EnableSMS(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	s := p.BeginSignIn(clerk)
	skipped := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/enrollment/skip"), s.Token, nil))
	other := p.BeginSignIn(clerk)
	stands(t, other, "complete")
	sut.Expect(t, p.Do("POST", "/v1/account/factors/sms/enable", skipped.Session.Token, nil), 204, "")
	dead(t, p, skipped.Session.Token)
	dead(t, p, other.Session.Token)
	again := p.BeginSignIn(clerk)
	stands(t, again, "enroll")
	p.EnrolSMS(clerk, clerkPhone)
	session := p.SignInSMS(clerk, clerkPhone)
	sut.Expect(t, p.Do("POST", "/v1/account/factors/sms/enable", session, nil), 409, "conflict")
	sut.Expect(t, p.Do("PATCH", "/v1/account/factors/sms", session, map[string]string{"label": "Work phone"}), 204, "")
	if a := account(t, p, session); a.Factors[0].Label != "Work phone" {
		t.Errorf("the telephone is called %q", a.Factors[0].Label)
	}
	_, agents := p.EnrolTOTP(agent)
	sut.Expect(t, p.Do("POST", "/v1/account/factors/sms/enable", agents, nil), 403, "forbidden")
}

// TestB22WhereOptional: who was never asked may wish for it, and may think better of it at the next sign-in.
func TestB22WhereOptional(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	adminKey, adminSession := p.EnrolTOTP(admin)
	sut.Expect(t, p.Do("POST", "/v1/account/factors/sms/enable", adminSession, nil), 403, "forbidden")
	modes(t, p, adminSession, adminKey, func(s *sut.Settings) { s.Organizations.Mode = "optional" })
	v := newVisitor(t, p)
	v.signIn(clerk)
	v.at("/account")
	v.says("Enable 2FA SMS")
	v.get("/account/factors/sms/enable")
	v.post("/account/factors/sms/enable", nil)
	v.at("/sign-in")
	v.signIn(clerk)
	v.at("/sign-in/enroll")
	v.post("/sign-in/enroll/skip", nil)
	v.at("/account")
	v.says("Enable 2FA SMS")
	plain := p.BeginSignIn(clerk)
	stands(t, plain, "complete")

	// Switched off meanwhile: the menu of an old session still offers it, and is told what holds now.
	modes(t, p, adminSession, adminKey, func(s *sut.Settings) { s.Organizations.Mode = "off" })
	v.get("/account/factors/sms/enable")
	if v.page.status != 403 {
		t.Errorf("the dialog where there is no second factor: status %d", v.page.status)
	}
	v.says("Your portal does not use a second factor at present.")
	sut.Expect(t, p.Do("POST", "/v1/account/factors/sms/enable", plain.Session.Token, nil), 403, "forbidden")
	who(t, p, plain.Session.Token)
}

// TestB22EnableSMSOnPages: the menu offers it to who has skipped, and to nobody else.
func TestB22EnableSMSOnPages(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	v := newVisitor(t, p)
	v.signIn(clerk)
	v.post("/sign-in/enroll/skip", nil)
	v.at("/account")
	v.says("Enable 2FA SMS")
	v.get("/account/factors/sms/enable")
	v.at("/account/factors/sms/enable")
	v.says("Enable", "No thanks", "You will be signed out")
	other := newVisitor(t, p)
	other.signIn(clerk)
	other.at("/account") // the skip holds
	other.says("Enable 2FA SMS")
	v.post("/account/factors/sms/enable", nil)
	v.at("/sign-in")
	v.says("You are signed out. Sign in again to give your mobile number.")
	v.get("/account")
	v.at("/sign-in")
	other.get("/account")
	other.at("/sign-in")
	v.signIn(clerk)
	v.at("/sign-in/enroll")

	_, session := p.EnrolTOTP(agent)
	who(t, p, session)
	plain := newVisitor(t, p)
	plain.signIn(second)
	plain.setUp(p)
	plain.get("/account")
	if strings.Contains(plain.text(), "Enable 2FA SMS") {
		t.Error("an internal user is offered text messages")
	}
	plain.get("/account/factors/sms/enable")
	if plain.page.status != 403 {
		t.Errorf("an internal user at the dialog: status %d", plain.page.status)
	}
	plain.says("authenticator app, not with a text message")
}

// TestB18B16ReplaceOnPages: with the step-up in between, the clock's fault told, and a way back.
func TestB18B16ReplaceOnPages(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	v := newVisitor(t, p)
	v.signIn(agent)
	key := v.setUp(p)
	other := newVisitor(t, p)
	other.signIn(agent)
	other.post("/sign-in/code", form{"code": p.Code(key)})
	other.at("/account")
	p.Advance(6 * time.Minute)
	v.get("/account")
	v.says("Replace", "Rename")
	v.post("/account/factors/totp", nil)
	v.says("Is it still you?", "You are about to change how you sign in.")
	v.post("/account/factors/totp", form{"password": "", "code": ""})
	v.says("Is it still you?", "Please enter password")
	v.post("/account/factors/totp", form{"password": "wrong", "code": p.Code(key)})
	v.says("Is it still you?", "That password is not right.")
	v.post("/account/factors/totp", form{"password": sut.DemoPassword, "code": sut.WrongCode(t, key, p.Now())})
	v.says("That code is not right.")
	v.post("/account/factors/totp", form{"password": sut.DemoPassword, "code": p.Code(key)})
	v.at("/account/factors/totp")
	v.says("Scan this code", "Show secret key", "Need help?", "Cancel", "works until the new one is on")
	fresh := strings.ReplaceAll(grouped.FindString(v.text()), " ", "")
	if fresh == key || fresh == "" {
		t.Fatal("the page shows no new key")
	}
	// B16: two codes in a row of a phone that is ten minutes ahead.
	at := p.Now().Add(10 * time.Minute)
	v.post("/account/factors/totp/confirm", form{"code": sut.CodeAt(t, fresh, at)})
	v.post("/account/factors/totp/confirm", form{"code": sut.CodeAt(t, fresh, at.Add(sut.Step))})
	if v.page.status != 422 || !strings.Contains(v.page.body, "data:image/png") {
		t.Errorf("a wrong code: status %d, with the QR code: %t", v.page.status, strings.Contains(v.page.body, "data:image/png"))
	}
	v.says("Your phone's clock is 11 minutes ahead.") // with the half minute of the second code
	cookie := v.cookieValue("sallyport_session")
	v.post("/account/factors/totp/confirm", form{"code": p.Code(fresh), "label": "Pixel 10"})
	v.at("/account")
	v.says("Your new authenticator app is on. The old one no longer works.", "Pixel 10")
	if v.cookieValue("sallyport_session") == cookie {
		t.Error("the session has risen and kept its token")
	}
	other.get("/account")
	other.at("/sign-in")
	v.get("/account/factors/totp")
	v.at("/account")
	if strings.Contains(v.page.body, fresh) || grouped.MatchString(v.text()) {
		t.Error("the key is shown after it was confirmed")
	}
	v.post("/account/factors/totp/rename", form{"label": "Old Nokia"})
	v.at("/account")
	v.says("Your device has a new name.", "Old Nokia")
	// B18: it cannot be removed here, and the page says why.
	if strings.Contains(v.page.body, "/account/factors/totp/remove") {
		t.Error("the page offers to remove what is required")
	}
	v.get("/account/factors/totp/remove")
	if v.page.status != 403 {
		t.Errorf("removing what is required: status %d", v.page.status)
	}
	v.says("Your portal requires a second factor, so it cannot be removed. You can replace it.")
}

// TestB18RemoveOnPages: a page that says what it means comes first.
func TestB18RemoveOnPages(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	adminKey, adminSession := p.EnrolTOTP(admin)
	modes(t, p, adminSession, adminKey, func(s *sut.Settings) { s.Internal.Mode = "optional" })
	v := newVisitor(t, p)
	v.signIn(agent)
	v.at("/account")
	p.Advance(6 * time.Minute)
	v.get("/account")
	v.says("Set up authenticator app")
	v.post("/account/factors/totp", nil)
	v.says("Is it still you?", "Enter your password.")
	if strings.Contains(v.page.body, `name="code"`) {
		t.Error("a code is asked of somebody who has no factor")
	}
	v.post("/account/factors/totp", form{"password": sut.DemoPassword})
	v.at("/account/factors/totp")
	key := strings.ReplaceAll(grouped.FindString(v.text()), " ", "")
	v.post("/account/factors/totp/confirm", form{"code": p.Code(key)})
	v.at("/account")
	v.says("Your authenticator app is on.")
	p.Advance(6 * time.Minute)
	v.get("/account/factors/totp/remove")
	v.at("/account/factors/totp/remove")
	v.says("Remove your authenticator app?", "your password alone opens your account", "Keep it")
	v.post("/account/factors/totp/remove", nil)
	v.says("Is it still you?")
	v.post("/account/factors/totp/remove", form{"password": sut.DemoPassword, "code": p.Code(key)})
	v.at("/account")
	v.says("Your second factor is removed.", "None yet")
	stands(t, p.BeginSignIn(agent), "complete")
}

// TestStepUpByTextOnPages: a contact is texted a code, and then goes on with what was asked.
func TestStepUpByTextOnPages(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	adminKey, adminSession := p.EnrolTOTP(admin)
	p.EnrolSMS(clerk, clerkPhone)
	modes(t, p, adminSession, adminKey, func(s *sut.Settings) { s.Organizations.Mode = "optional" })
	v := newVisitor(t, p)
	seen := len(p.Messages(clerkPhone))
	v.signIn(clerk)
	v.post("/sign-in/code", form{"code": p.CodeAfter(clerkPhone, seen)})
	v.at("/account")
	p.Advance(6 * time.Minute)
	v.get("/account/factors/sms/remove")
	v.says("Remove your mobile number?")
	v.post("/account/factors/sms/remove", form{"why": "<b>moving"})
	v.says("Is it still you?", "Text me a code")
	seen = len(p.Messages(clerkPhone))
	carried := form{}
	for _, m := range regexp.MustCompile(`type="hidden" name="(step_up_\w+|why)" value="([^"]*)"`).FindAllStringSubmatch(v.page.body, -1) {
		carried[m[1]] = strings.NewReplacer("&lt;", "<", "&gt;", ">").Replace(m[2])
	}
	if carried["why"] != "<b>moving" || carried["step_up_action"] != "/account/factors/sms/remove" {
		t.Errorf("the step-up carries %v", carried)
	}
	v.post("/account/step-up/send", carried)
	v.says("Is it still you?", "Message sent to", "xxx-xxx-9443", "You are about to change how you sign in.")
	if !strings.Contains(v.page.body, `action="/account/factors/sms/remove"`) || !strings.Contains(v.page.body, `value="&lt;b&gt;moving"`) {
		t.Error("after the text message the page does not go on with what was asked")
	}
	v.post("/account/factors/sms/remove", form{"password": sut.DemoPassword, "code": p.CodeAfter(clerkPhone, seen)})
	v.at("/account")
	v.says("Your second factor is removed.")
	// An address of somebody else's is none to go on to.
	v.post("/account/step-up/send", form{"step_up_action": "https://evil.test/x"})
	if strings.Contains(v.page.body, "evil.test") {
		t.Error("a step-up leads to another site")
	}
}

// TestOwnSessions: a person sees where they are signed in, and ends one or all the others.
func TestOwnSessions(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, first := p.EnrolTOTP(agent)
	p.Advance(time.Minute)
	second := p.SignInTOTP(agent, key)
	v := newVisitor(t, p)
	v.agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
	v.signIn(agent)
	v.post("/sign-in/code", form{"code": p.Code(key)})
	v.at("/account")
	v.says("Where you are signed in", "Firefox on Windows", "this device", "127.0.0.0/24", "You are signed in on 2 other devices.")
	list := sut.Want[sut.OwnSessions](t, http.StatusOK, p.Do("GET", "/v1/account/sessions", second, nil)).Items
	if len(list) != 3 || list[0].Device != "Firefox on Windows" || list[0].Network != "127.0.0.0/24" || !list[1].Current || list[0].Current || list[2].Current {
		t.Fatalf("sessions: %+v", list)
	}
	if !list[1].AuthTime.After(list[2].AuthTime) || list[0].LastSeenAt.IsZero() {
		t.Errorf("sessions: %+v", list)
	}
	// Nobody ends another person's.
	_, admins := p.EnrolTOTP(admin)
	sut.Expect(t, p.Do("DELETE", "/v1/account/sessions/"+list[0].ID, admins, nil), 404, "not_found")
	sut.Expect(t, p.Do("DELETE", "/v1/account/sessions/"+list[2].ID, second, nil), 204, "")
	dead(t, p, first)
	who(t, p, second)
	v.post("/account/sessions/end", form{"session": list[1].ID})
	v.at("/account")
	v.says("You are signed out there.")
	dead(t, p, second)
	third := p.SignInTOTP(agent, key)
	sut.Expect(t, p.Do("DELETE", "/v1/account/sessions", third, nil), 204, "")
	who(t, p, third)
	who(t, p, admins)
	v.get("/account")
	v.at("/sign-in")
}

// TestB30B31B33RecoveryOnPages: what is left is told on the way, from three codes on.
func TestB30B31B33RecoveryOnPages(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, session := p.EnrolTOTP(agent)
	type set struct{ Codes []string }
	codes := sut.Want[set](t, http.StatusOK, p.Do("POST", "/v1/account/recovery-codes", session, nil)).Codes
	for n := range 8 {
		s := p.BeginSignIn(agent)
		recovered := sut.Want[sut.SignIn](t, http.StatusOK, p.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": codes[n]}))
		stands(t, recovered, "enroll")
		if recovered.CodesLeft == nil || *recovered.CodesLeft != 9-n {
			t.Errorf("after code %d there are %v left", n+1, recovered.CodesLeft)
		}
		dead(t, p, session) // B31
		if n < 7 {
			_, session = p.EnrolTOTP(agent)
			continue
		}
		v := newVisitor(t, p)
		v.signIn(agent)
		v.at("/sign-in/enroll")
		if strings.Contains(v.text(), "administrator reset") {
			t.Error("who used a recovery code is told that somebody else reset them")
		}
		v.setUp(p)
		v.says("2 recovery codes left.")
		v.get("/account")
		v.says("Only 2 codes are left.")
	}
}

// TestB29ThePersonIsTold: who was reset by somebody else reads so at the next sign-in, until they have enrolled again.
func TestB29ThePersonIsTold(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	_, theirs := p.EnrolTOTP(agent)
	_, session := p.EnrolTOTP(admin)
	id := who(t, p, theirs).User.ID
	at := p.Now()
	sut.Expect(t, p.Do("POST", "/v1/admin/users/"+id+"/reset-second-factor", session, map[string]string{"reason": "lost phone"}), 204, "")
	dead(t, p, theirs)
	s := p.BeginSignIn(agent)
	stands(t, s, "enroll")
	if s.Reset == nil || s.Reset.Cause != "admin" {
		t.Fatalf("the sign-in says of the reset: %+v", s.Reset)
	}
	near(t, "the reset", s.Reset.At, at, time.Minute)
	v := newVisitor(t, p)
	v.signIn(agent)
	v.at("/sign-in/enroll")
	v.says("Set up your second factor again", "An administrator reset your two-factor sign-in on "+at.UTC().Format("2 Jan 2006"))
	if strings.Contains(v.text(), "lost phone") {
		t.Error("the person reads what the admin wrote for the audit log")
	}
	v.setUp(p)
	v.get("/account")
	if strings.Contains(v.text(), "administrator reset") {
		t.Error("who has enrolled again is still told")
	}
}
