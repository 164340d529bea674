package browser

import (
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB10B07Settings is how a Master Admin switches a population off and on again: with whom it hits before their
// eyes, and with password and code once more.
func TestB10B07Settings(t *testing.T) {
	everyWay(t, func(s *scene) {
		s.EnrolSMS(clerk, number)
		key := s.enrolled(admin)
		v := s.comesIn(admin, key, "/admin")
		v.onPage("Overview")
		v.reads("Two-factor is required for all internal users.", "Two-factor is required for contacts, who may skip it.", "Make your own recovery codes")
		v.picture("60-overview")
		v.press("Two-factor settings")
		v.onPage("Two-factor settings")
		v.picture("61-settings")
		v.press("Show whom this hits")
		v.reads("Nothing would change.")
		v.press("Change it")

		// Off: figures, a warning, and nothing saved without a proof.
		s.Advance(6 * time.Minute)
		v.choose("Organizations", "Off")
		v.press("Show whom this hits")
		v.onPage("Whom this hits")
		v.reads("Nothing is saved yet.", "Two-factor is off for contacts.", "Stays as it is.", "4 in scope", "0 enrol at next sign-in",
			"4 contacts of organizations will sign in with a password alone. When you switch it on again, everybody enrols anew.", "Is it still you?")
		v.picture("62-settings-preview")
		v.fill("Password", sut.DemoPassword)
		v.fill(appCode, sut.WrongCode(t, key, s.Now()))
		v.press("Save")
		v.reads("That code is not right.")
		v.hasFocusOn(appCode)
		v.picture("63-settings-preview-wrong")
		v.proves(key)
		v.press("Save")
		v.onPage("Two-factor settings")
		v.reads("The settings are saved, and count from now on.")

		c := s.visitor()
		c.signIn("/account", clerk)
		c.onPage("You are in")

		// On again, within the five minutes of the proof: whoever was enrolled before is not any more.
		v.choose("Organizations", "Required")
		v.press("Show whom this hits")
		v.reads("Two-factor is required for contacts, who may skip it.", "4 enrol at next sign-in", "0 have skipped")
		v.readsNot("Is it still you?")
		v.picture("64-settings-preview-on")
		v.press("Save")
		v.reads("The settings are saved, and count from now on.")
		c.signOut()
		c.giveCredentials(clerk, sut.DemoPassword)
		c.find("Set up", "button")
		c.reads("A code by text message")

		// One switch never touches the other: the agent is asked as before.
		a := s.visitor()
		a.signIn("/account", agent)
		a.onPage("One more lock on your door")
		a.reads("A code from an app on your phone")
	})
}

// TestB06B08WhoMaySwitch is what others meet at the settings: somebody who is no admin, an admin without a second factor, and
// one who comes second.
func TestB06B08WhoMaySwitch(t *testing.T) {
	bothWays(t, func(s *scene) {
		key := s.enrolled(admin)
		s.settles(key, "optional", "required")

		a := s.visitor()
		a.signIn("/account", agent)
		a.onPage("You are in")
		a.click("Account menu, Amir Haddad")
		if a.find("Your account", "link"); a.sees("Administration", "link") {
			t.Error("the menu offers the console to somebody who is no admin")
		}
		for _, path := range []string{"/admin", "/admin/settings"} {
			a.goTo(path)
			a.onPage("This is not yours to see")
			a.reads("Administration is for the portal's admins.", "You can ask: Ada Moreau, Sven Lindqvist")
		}
		a.picture("65-not-yours")
		a.press("Go to your account")
		a.onPage("You are in")

		// An admin who asks others for a second factor must have one.
		w := s.visitor()
		w.signIn("/admin", second)
		w.press("Set up your own second factor: only then can you ask others for one.")
		w.onPage("You are in")
		w.goTo("/admin/settings")
		w.reads("You can look, but not change")
		if w.sees("Show whom this hits", "button") {
			t.Error("an admin without a second factor can change the settings")
		}
		w.picture("66-settings-locked")
		w.press("Set up your own first")
		w.press("Set up authenticator app")
		w.onPage("Scan this code")
		own := w.scanOf(second)
		w.fill(appCode, s.Code(own))
		w.press("Turn on")
		w.reads("Your authenticator app is on.")

		// Two admins have the page open; the second to save is told what holds now.
		v := s.comesIn(admin, key, "/admin/settings")
		w.goTo("/admin/settings")
		v.choose("Internal users", "Required")
		v.press("Show whom this hits")
		v.proves(key)
		v.press("Save")
		v.reads("The settings are saved")
		w.tick("Contacts may skip it")
		w.press("Show whom this hits")
		w.onPage("Two-factor settings")
		w.reads("Somebody else saved first. Nothing of yours was saved.", "Now: Two-factor is required for all internal users.", "Yours was: Two-factor is optional for internal users.")
		w.picture("67-settings-stale")
		w.press("Show whom this hits")
		w.reads("Nothing would change.")
	})
}
