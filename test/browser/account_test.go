package browser

import (
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB18OwnFactor is everything that somebody does with their authenticator where policy leaves it to them: set up,
// name, replace, remove; and sign out elsewhere.
func TestB18OwnFactor(t *testing.T) {
	everyWay(t, func(s *scene) {
		s.settles(s.enrolled(admin), "optional", "required")
		v := s.visitor()
		v.signIn("/account", agent)
		v.onPage("You are in")
		v.reads("None yet")
		v.picture("90-account-optional")
		v.press("Set up authenticator app")
		v.onPage("Scan this code")
		first := v.scan()
		v.fill(appCode, sut.WrongCode(t, first, s.Now()))
		v.press("Turn on")
		v.reads("That code is not right.")
		v.fill(appCode, s.Code(first))
		v.press("Turn on")
		v.reads("Your authenticator app is on.")

		v.click("Rename")
		v.fill("Name of this device", "Grandmother's tablet")
		v.picture("91-account-rename")
		v.press("Save")
		v.reads("Your device has a new name.", "Grandmother's tablet · since")

		// Another phone: the one at hand works until the new one is on.
		s.Advance(6 * time.Minute)
		v.press("Replace")
		v.onPage("Is it still you?")
		v.reads("You are about to change how you sign in.")
		v.picture("92-step-up-factor")
		v.proves(first)
		v.press("Continue")
		v.onPage("Scan this code")
		v.reads("The app you have now works until the new one is on.")
		v.picture("93-replace")
		next := v.scan()
		if next == first {
			t.Fatal("the old secret is offered again")
		}
		other := s.comesIn(agent, first, "/account")
		other.onPage("You are in")
		v.fill(appCode, s.Code(next))
		v.fill("Name of this device (optional)", "Fairphone")
		v.press("Turn on")
		v.reads("Your new authenticator app is on. The old one no longer works.", "Fairphone")
		other.isSignedOut("Make recovery codes")
		other.giveCredentials(agent, sut.DemoPassword)
		s.Advance(sut.Step)
		other.giveCode(appCode, s.Code(first))
		other.reads("That code is not right.")
		other.giveCode(appCode, s.Code(next))
		other.onPage("You are in")

		// One session elsewhere, ended from here.
		v.goTo("/account")
		v.reads("You are signed in on 1 other device.", "this device")
		v.picture("94-account-sessions")
		v.press(v.nameThatBegins("Sign out Chrome", "button"))
		v.reads("You are signed out there.")
		other.isSignedOut("Make recovery codes")

		v.press("Remove")
		v.onPage("Remove your authenticator app?")
		v.picture("95-remove")
		v.press("Keep it")
		v.press("Remove")
		v.press("Remove")
		v.reads("Your second factor is removed. Your password alone signs you in.", "None yet")
		v.signOut()
		v.giveCredentials(agent, sut.DemoPassword)
		v.onPage("You are in")
	})
}

// TestB22EnableSMS is a contact who declined and thinks better of it.
func TestB22EnableSMS(t *testing.T) {
	const own = "+17015550177"
	everyWay(t, func(s *scene) {
		v := s.visitor()
		v.signIn("/account", temp)
		v.press("Skip for now")
		v.onPage("You are in")
		v.click("Account menu, Tomas Varga")
		v.find("Your account", "link")
		v.picture("96-menu-enable")
		v.press("Enable 2FA SMS")
		v.onPage("Enable 2FA SMS")
		v.reads("At every sign-in Northwind Portal will text a code to your mobile phone.", "You will be signed out now")
		v.picture("97-enable-sms")
		v.press("No thanks")
		v.onPage("You are in")
		v.press("Enable 2FA SMS")
		v.press("Enable")
		v.onPage("Sign in")
		v.reads("You are signed out. Sign in again to give your mobile number.")
		v.picture("98-enabled")

		v.giveCredentials(temp, sut.DemoPassword)
		v.find("Set up", "button")
		v.press("Set up")
		v.fill("Mobile number", "701 555 0177")
		v.press("Text me a code")
		v.giveCode(code, s.LastCode(own))
		v.reads("Your number is confirmed.")
		seen := len(s.Messages(own))
		v.giveCredentials(temp, sut.DemoPassword)
		v.giveCode(code, s.CodeAfter(own, seen))
		v.onPage("You are in")
		v.readsNot("Enable 2FA SMS")
	})
}

// TestB33FewCodes is the warning before the last recovery codes are gone.
func TestB33FewCodes(t *testing.T) {
	withScripts(t, func(s *scene) {
		key, session := s.EnrolTOTP(agent)
		made := sut.Want[struct {
			Codes []string `json:"codes"`
		}](t, http.StatusOK, s.Do(http.MethodPost, "/v1/account/recovery-codes", session, nil))
		// A phone lost seven times.
		for _, c := range made.Codes[:7] {
			b := s.BeginSignIn(agent)
			sut.Want[sut.SignIn](t, http.StatusOK, s.Do(http.MethodPost, b.Path("/recover"), b.Token, map[string]string{"recovery_code": c}))
			e := sut.Want[sut.Enrollment](t, http.StatusCreated, s.Do(http.MethodPost, b.Path("/enrollment"), b.Token, map[string]string{"factor": "totp"}))
			key = e.Key
			sut.Want[sut.SignIn](t, http.StatusOK, s.Do(http.MethodPost, b.Path("/enrollment/confirm"), b.Token, map[string]string{"code": s.Code(key)}))
		}
		v := s.comesIn(agent, key, "/account")
		v.reads("Only 3 codes are left. Make new ones while you can.")
		v.picture("99-account-few-codes")
		v.press("Make new codes")
		v.reads("Your earlier codes no longer work.")
		v.press("I have kept them")
		v.reads("10 codes left")
	})
}
