package browser

import (
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestB28B29Reset is a phone that is gone: an admin finds the person, resets them alone and says why; the person is
// signed out, told, and enrols anew. A contact who had declined is asked again.
func TestB28B29Reset(t *testing.T) {
	everyWay(t, func(s *scene) {
		lost, key := s.enrolled(agent), s.enrolled(admin)
		a := s.comesIn(agent, lost, "/account")
		x := s.visitor()
		x.signIn("/account", temp)
		x.press("Skip for now")
		x.onPage("You are in")

		v := s.comesIn(admin, key, "/admin")
		v.press("Internal users")
		v.onPage("Internal users")
		v.reads("Ada Moreau", "Sven Lindqvist", "1 more signs in at a provider and is exempt.")
		v.picture("70-users")
		v.fill("Search name or email", "nobody")
		v.press("Show")
		v.reads("Nobody matches. Try fewer letters, or another standing.")
		v.press("Clear")
		v.finds("hadd", "Amir Haddad")
		v.reads("Authenticator app since", "Pixel 9", "Password and a code.")
		v.picture("71-person")
		v.press("Reset two-factor")
		v.onPage("Reset two-factor for Amir Haddad?")
		v.reads("They are signed out everywhere.")
		v.incomplete("Reset two-factor")
		v.reads("Please say why")
		v.hasFocusOn("Why?")
		v.picture("72-reset")
		v.fill("Why?", "Phone left in a taxi")
		v.press("Reset two-factor")
		v.onPage("Amir Haddad")
		v.reads("Two-factor is reset. They set up a new one at their next sign-in.", "Not enrolled", "Password, then they set up a second factor.",
			"Ada Moreau reset the second factor of Amir Haddad.", "Why: Phone left in a taxi", "Not signed in anywhere.")
		v.readsNot("Authenticator app since")
		v.picture("73-person-reset")

		a.isSignedOut("Make recovery codes")
		a.giveCredentials(agent, sut.DemoPassword)
		a.onPage("Set up your second factor again")
		a.reads("An administrator reset your two-factor sign-in on", "Set it up again.")
		a.picture("74-welcome-reset")
		a.press("Set up")
		next := a.scan()
		if next == lost {
			t.Error("after a reset the old secret is offered again")
		}
		a.fill(appCode, s.Code(next))
		a.press("Turn on")
		a.press("Continue")
		a.onPage("You are in")

		// A contact, by way of the organization: the saved skip is cleared with the rest.
		v.press("Organizations")
		v.onPage("Organizations")
		v.picture("75-organizations")
		v.press("Acme")
		v.onPage("Acme")
		v.picture("76-organization")
		v.press("Tomas Varga")
		v.reads("Skipped", "Password alone, because they chose to skip.")
		v.press("Reset two-factor")
		v.fill("Why?", "Has a company phone now")
		v.press("Reset two-factor")
		v.reads("Two-factor is reset.", "Password, then they set up a second factor or skip it.")
		x.goTo("/account")
		x.onPage("Sign in")
		x.giveCredentials(temp, sut.DemoPassword)
		x.reads("An administrator reset your two-factor sign-in on", "A code by text message")

		// Nobody else was touched: the admin is still signed in, and the page of another says so.
		v.goTo("/admin/users/admin-demo")
		v.reads("Another admin does that for you; you can replace your own on your account page.")
		v.picture("77-person-self")
	})
}

// TestB28OrganizationAdmin is what somebody sees and may do who looks after one organization.
func TestB28OrganizationAdmin(t *testing.T) {
	const own = "+17015550100"
	bothWays(t, func(s *scene) {
		s.EnrolSMS(owner, own)
		s.EnrolSMS(clerk, number)
		v := s.comesInByText(owner, own, "/admin")
		v.onPage("Overview")
		v.reads("You look after the contacts of Acme.", "Ada Moreau, Sven Lindqvist")
		for _, foreign := range []string{"Two-factor settings", "Internal users", "Audit log", "Look and help"} {
			if v.sees(foreign, "link") {
				t.Errorf("an organization's admin is offered %q", foreign)
			}
		}
		v.picture("78-overview-organization")
		v.press("Contacts")
		v.reads("Olga Petrov", "Clara Weiss", "Tomas Varga", "You see the contacts of your own organization.")
		v.readsNot("Greta Olsen", "Globex")
		v.picture("79-contacts")
		v.goTo("/admin/users?audience=organization&organization=Globex&query=greta")
		v.readsNot("Greta Olsen")
		v.goTo("/admin/users/owner-globex")
		v.onPage("This is not yours to see")
		v.reads("This person is not a contact of your organization.", "Ada Moreau, Sven Lindqvist")
		v.goTo("/admin/settings")
		v.reads("This part of the console belongs to the portal's Master Admins.", "You can ask: Ada Moreau, Sven Lindqvist")
		v.press("Back to the overview")

		v.press("Contacts")
		v.finds("clara", "Clara Weiss")
		v.reads("Text message since")
		v.picture("80-contact")
		v.press("Reset two-factor")
		v.fill("Why?", "New number")
		v.press("Reset two-factor")
		v.reads("Two-factor is reset.", "Not enrolled")

		c := s.visitor()
		c.signIn("/account", clerk)
		c.reads("An administrator reset your two-factor sign-in on")
		c.press("Set up")
		c.onPage("Your mobile number")
	})
}

// TestB35Unlock is somebody whom wrong codes have locked out, and an admin who lets them try again.
func TestB35Unlock(t *testing.T) {
	bothWays(t, func(s *scene) {
		phone, key := s.enrolled(agent), s.enrolled(admin)
		v := s.comesIn(admin, key, "/admin")
		a := s.visitor()
		a.signIn("/account", agent)
		for range 5 {
			a.giveCode(appCode, sut.WrongCode(t, phone, s.Now()))
		}
		a.reads("Too many wrong codes. Try again at")

		v.await("the lock on the overview", func() bool {
			v.goTo("/admin")
			return v.sees("1 person is locked out by wrong codes.", "link")
		})
		v.picture("81-overview-locked")
		v.press("1 person is locked out by wrong codes.")
		v.onPage("Internal users")
		v.reads("Amir Haddad", "Locked until")
		v.readsNot("Sven Lindqvist")
		v.picture("82-users-locked")
		v.press("Amir Haddad")
		v.reads("Locked until")
		v.picture("83-person-locked")
		v.press("Unlock")
		v.onPage("Unlock Amir Haddad?")
		v.reads("Their second factor stays as it is.")
		v.picture("84-unlock")
		v.fill("Why?", "Called from the desk, typed the wrong account")
		v.press("Unlock")
		v.onPage("Amir Haddad")
		v.reads("Unlocked. They can try again now.", "Nothing is locked.")
		v.readsNot("Locked until")
		v.await("the unlocking in the history", func() bool {
			v.goTo("/admin/users/agent-demo")
			return strings.Contains(v.text(), "Ada Moreau unlocked the second factor of Amir Haddad.")
		})

		a.goTo("/sign-in/code")
		a.giveCode(appCode, s.Code(phone))
		a.onPage("You are in")
	})
}
