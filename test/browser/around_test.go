package browser

import (
	"net/http"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestB38EdgesOfASignIn is what happens beside the straight way: a sign-in that took too long, a wrong address, other
// tabs and other devices.
func TestB38EdgesOfASignIn(t *testing.T) {
	everyWay(t, func(s *scene) {
		key, elsewhere := s.EnrolTOTP(agent)
		sut.Expect(t, s.Do(http.MethodDelete, "/v1/session", elsewhere, nil), http.StatusNoContent, "")
		v := s.visitor()
		v.goTo("/sign-in")
		v.picture("01-sign-in")

		// A sign-in stays open for ten minutes.
		v.signIn("/sign-in", agent)
		v.onPage("Enter your code")
		s.Advance(11 * time.Minute)
		v.giveCode("Code from the app", s.Code(key))
		v.isAt("/sign-in?notice=expired")
		v.reads("That took too long. Please sign in again.")
		v.picture("50-expired")
		v.goTo("/sign-in/code") // an old address without a sign-in
		v.onPage("Sign in")

		// Another account after all.
		v.signIn("/sign-in", agent)
		v.press("Use another account")
		v.reads("Sign in with the account you want to use.")

		v.goTo("/nowhere")
		v.onPage("There is nothing here")
		v.reads("404 not_found")
		v.picture("51-not-found")
		v.press("Go to your account")
		v.onPage("Sign in")

		// Two tabs at the same step of the same sign-in.
		v.signIn("/sign-in", agent)
		w := v.secondTab()
		w.goTo("/sign-in/code")
		w.onPage("Enter your code")
		v.giveCode("Code from the app", s.Code(key))
		v.onPage("You are in")
		w.giveCode("Code from the app", s.Code(key))
		w.isAt("/account")
		w.onPage("You are in")

		// Somebody else's computer, signed in to the same account.
		s.Advance(sut.Step)
		other := s.visitor()
		other.signIn("/sign-in", agent)
		other.giveCode("Code from the app", s.Code(key))
		v.goTo("/account")
		v.reads("You are signed in on 1 other device.")
		v.picture("54-account-other-device")
		v.press("Sign out everywhere else")
		v.reads("You are signed out everywhere else.")
		other.goTo("/account")
		other.onPage("Sign in")
		other.reads("Please sign in to go on.")

		// The way out, in every tab.
		v.goTo("/nowhere")
		v.find("Account menu, Amir Haddad", "DisclosureTriangle")
		v.goTo("/sign-out")
		v.onPage("Sign out?")
		v.hasFocusOn("Sign out")
		v.picture("52-sign-out")
		v.press("Stay signed in")
		v.onPage("You are in")
		v.signOut()
		w.goTo("/account")
		w.onPage("Sign in")

		// A form from before the cookies were cleared.
		v.goTo("/sign-in")
		v.clearCookies()
		v.giveCredentials(agent, sut.DemoPassword)
		v.reads("page was open too long")
		v.picture("55-form-expired")
	})
}

// TestB37Reference reads the API's reference as a person does.
func TestB37Reference(t *testing.T) {
	everyWay(t, func(s *scene) {
		v := s.visitor()
		v.goTo("/docs")
		v.reads("/v1/sign-ins")
		v.picture("53-docs")
	})
}
