package browser

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestB40B12B28FromNothing is a portal's first day. An operator makes it with one command; from then on its admin has the
// console alone. Internal users enrol, one loses a phone and is reset; contacts enrol or skip, one changes their mind,
// and the admin of their organization resets the other.
func TestB40B12B28FromNothing(t *testing.T) {
	bothWays(t, func(s *scene) {
		link := s.founds("fabrikam", "Fabrikam Portal", "ida@fabrikam.test", "Ida Holm")
		ida := s.visitor()
		ida.goTo(link)
		ida.choosesPassword(ownPassword, ownPassword)
		idas := ida.enrolsApp("ida@fabrikam.test")
		ida.goTo("/admin")
		ida.reads("Two-factor is required for all internal users.", "Two-factor is required for contacts, who may skip it.")
		ida.picture("130-first-overview")

		bo := s.visitor()
		bo.goTo(ida.makes("/admin/users/new", "Bo Wirth", "bo@fabrikam.test", "", false))
		bo.choosesPassword(ownPassword, ownPassword)
		bos := bo.enrolsApp("bo@fabrikam.test")

		// Bo loses the phone, and is alone in enrolling again.
		ida.goTo("/admin/users?audience=internal")
		ida.finds("bo@", "Bo Wirth")
		ida.press("Reset two-factor")
		ida.fill("Why?", "Phone lost")
		ida.press("Reset two-factor")
		ida.reads("Two-factor is reset.")
		bo.goTo("/account")
		bo.onPage("Sign in")
		bo.giveCredentials("bo@fabrikam.test", ownPassword)
		bo.reads("An administrator reset your two-factor sign-in on")
		bo.press("Set up")
		if bo.scanOf("bo@fabrikam.test") == bos {
			t.Error("after a reset the old secret is offered again")
		}
		ida.goTo("/account") // still signed in, with the same authenticator
		ida.onPage("You are in")

		// Two contacts of one organization, the first of whom looks after it.
		const cleos, dans = "+17015550111", "+17015550122"
		cleo, dan := s.visitor(), s.visitor()
		link = ida.makes("/admin/users/new?audience=organization", "Cleo Marsh", "cleo@contoso.test", "Contoso", true)
		cleo.goTo(link)
		cleo.choosesPassword(ownPassword, ownPassword)
		cleo.enrolsPhone("cleo@contoso.test", cleos)
		link = ida.makes("/admin/users/new?audience=organization", "Dan Ostrow", "dan@contoso.test", "Contoso", false)
		dan.goTo(link)
		dan.choosesPassword(ownPassword, ownPassword)
		dan.giveCredentials("dan@contoso.test", ownPassword)
		dan.press("Skip for now")
		dan.onPage("You are in")
		dan.signOut()
		dan.giveCredentials("dan@contoso.test", ownPassword)
		dan.onPage("You are in") // remembered

		// Dan changes their mind, and enrols.
		dan.goTo("/account/factors/sms/enable")
		dan.press("Enable")
		dan.enrolsPhone("dan@contoso.test", dans)

		// Dan has a new number; Cleo, who is of the same organization, helps.
		cleo.goTo("/admin/users?audience=organization")
		cleo.finds("dan@", "Dan Ostrow")
		cleo.press("Reset two-factor")
		cleo.fill("Why?", "New number")
		cleo.press("Reset two-factor")
		cleo.reads("Two-factor is reset.")
		dan.goTo("/account")
		dan.giveCredentials("dan@contoso.test", ownPassword)
		dan.reads("An administrator reset your two-factor sign-in on", "A code by text message")

		// All of it is in the log of this portal, and none of it in the log of the other one.
		ida.goTo("/admin/audit")
		ida.reads("reset the second factor of Bo Wirth", "Why: Phone lost", "reset the second factor of Dan Ostrow", "Why: New number")
		ida.picture("131-first-audit")
		if idas == bos {
			t.Error("two people have the same secret")
		}
	})
}

// founds makes a portal as an operator does, moves the scene to its address, and returns the path of the link by which its
// first admin chooses a password.
func (s *scene) founds(id, name, email, admin string) (path string) {
	s.t.Helper()
	at, err := url.Parse(s.Base)
	if err != nil {
		s.t.Fatal(err)
	}
	base := "http://localhost:" + at.Port()
	out := s.Operate(0, "portal", "create", "--id="+id, "--name="+name, "--url="+base, "--support-email=help@fabrikam.test",
		"--internal=required", "--organizations=required", "--allow-opt-out", "--admin-email="+email, "--admin-name="+admin).Stdout()
	m := regexp.MustCompile(regexp.QuoteMeta(base) + `(/welcome/\S+)`).FindStringSubmatch(out)
	if m == nil {
		s.t.Fatalf("portal create hands out no link:\n%s", out)
	}
	s.Base, s.portal = base, name
	s.Client = sut.NewClient(s.t, base)
	sut.Eventually(s.t, patience, "the gateway to see the new portal", func() bool {
		a := s.Do(http.MethodGet, "/sign-in", "", nil)
		return strings.Contains(string(a.Body), name)
	})
	return m[1]
}

// enrolsApp signs in with the password that was just chosen, sets up an authenticator and returns its key.
func (v *visitor) enrolsApp(email string) (key string) {
	v.t.Helper()
	v.giveCredentials(email, ownPassword)
	v.onPage("One more lock on your door")
	v.press("Set up")
	key = v.scanOf(email)
	v.fill(appCode, v.scene.Code(key))
	v.press("Turn on")
	v.onPage("Congratulations, that's it")
	v.press("Continue")
	v.onPage("You are in")
	return key
}

// enrolsPhone is the same with a telephone: the number is confirmed, and then the code of a second sign-in opens the door.
func (v *visitor) enrolsPhone(email, phone string) {
	v.t.Helper()
	v.giveCredentials(email, ownPassword)
	v.press("Set up")
	v.fill("Mobile number", phone)
	v.press("Text me a code")
	v.giveCode(code, v.scene.LastCode(phone))
	v.reads("Your number is confirmed.")
	seen := len(v.scene.Messages(phone))
	v.giveCredentials(email, ownPassword)
	v.giveCode(code, v.scene.CodeAfter(phone, seen))
	v.onPage("You are in")
}

// makes adds an account in the console and returns the path of its password link.
func (v *visitor) makes(form, name, email, organization string, admin bool) (link string) {
	v.t.Helper()
	v.goTo(form)
	v.fill("Name", name)
	v.fill("Email", email)
	if organization != "" {
		v.fill("Organization", organization)
	}
	if admin {
		v.tick("Admin of their organization")
	}
	v.press("Create account")
	return v.passwordLink(name)
}
