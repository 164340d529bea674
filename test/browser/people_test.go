package browser

import (
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

const ownPassword = "seven quiet herons at noon"

// TestB12NewPeople is an account from nothing: an admin makes it and hands a link over, and the new person chooses a
// password, enrols and is in.
func TestB12NewPeople(t *testing.T) {
	everyWay(t, func(s *scene) {
		key := s.enrolled(admin)
		v := s.comesIn(admin, key, "/admin")
		v.press("Internal users")
		v.press("New internal user")
		v.onPage("New internal user")
		v.incomplete("Create account")
		v.reads("Please enter a name", "Please enter valid email")
		v.picture("100-new-user-wrong")
		v.fill("Name", "Nora Lund")
		v.fill("Email", "Agent@Demo.test")
		v.press("Create account")
		v.reads("There is an account with this address already.")
		v.fill("Email", "nora@demo.test")
		v.press("Create account")
		link := v.passwordLink("Nora Lund")
		v.picture("101-password-link")
		v.press("Done")
		v.onPage("Nora Lund")
		v.reads("No password yet: the link was not used", "Never", "Ada Moreau created the account of Nora Lund.")
		v.readsNot(link)
		v.picture("102-person-new")

		n := s.visitor()
		n.goTo(link)
		n.onPage("Choose your password")
		n.reads("At least 12 characters.", "Not one that others try first")
		n.picture("103-choose-password")
		n.choosesPassword("herons", "herons")
		n.reads("Please choose at least 12 characters.")
		n.hasFocusOn("New password")
		n.picture("104-choose-password-short")
		n.choosesPassword(ownPassword, ownPassword+"!")
		n.reads("The two are not the same. Please type both again.")
		n.choosesPassword("nora lund nora lund", "nora lund nora lund")
		n.reads("That is mostly your name, your email or the portal's name.")
		n.choosesPassword(ownPassword, ownPassword)
		n.onPage("Sign in")
		n.reads("Your password is set. Sign in with it.")
		n.giveCredentials("nora@demo.test", ownPassword)
		n.onPage("One more lock on your door")
		n.press("Set up")
		phone := n.scanOf("nora@demo.test")
		n.fill(appCode, s.Code(phone))
		n.press("Turn on")
		n.onPage("Congratulations, that's it")
		n.press("Continue")
		n.onPage("You are in")
		n.goTo(link)
		n.onPage("This link no longer works")
		n.picture("105-link-over")

		// A contact, with the right to look after their organization: such rights ask for a proof.
		v.goTo("/admin/organizations")
		s.Advance(6 * time.Minute)
		v.press("New contact")
		v.fill("Name", "Ines Prado")
		v.fill("Email", "ines@initech.test")
		v.fill("Organization", "Initech")
		v.tick("Admin of their organization")
		v.press("Create account")
		v.reads("Giving rights asks for one more proof: your password and a new code.")
		v.picture("106-new-contact-proof")
		v.proves(key)
		v.press("Create account")
		link = v.passwordLink("Ines Prado")
		v.press("Organizations")
		v.press("Initech")
		v.reads("Ines Prado", "Admin of their organization", "Never")

		i := s.visitor()
		i.goTo(link)
		i.choosesPassword(ownPassword, ownPassword)
		i.giveCredentials("ines@initech.test", ownPassword)
		i.onPage("One more lock on your door")
		i.reads("A code by text message")
	})
}

// TestB32LastAdmin shows that nobody can lock a portal's last admin out, and what its pages say of that.
func TestB32LastAdmin(t *testing.T) {
	bothWays(t, func(s *scene) {
		key := s.enrolled(admin)
		v := s.comesIn(admin, key, "/admin/users?audience=internal")
		v.finds("sven", "Sven Lindqvist")
		v.press("Disable")
		v.onPage("Disable Sven Lindqvist?")
		v.picture("107-disable")
		v.fill("Why? (optional)", "Left the company")
		v.press("Disable")
		v.reads("The account is disabled.", "Account disabled", "Refused: the account is disabled.")
		v.picture("108-person-disabled")

		w := s.visitor()
		w.signIn("/account", second)
		w.reads("That email and password do not match.")

		v.press("Overview")
		v.reads("You are the only Master Admin. Name a second one, who can reset you.")
		v.goTo("/admin/users/admin-demo")
		for _, deed := range []string{"Disable", "Delete", "Reset two-factor"} {
			if v.sees(deed, "link") || v.sees(deed, "button") {
				t.Errorf("the last admin is offered %q on their own account", deed)
			}
		}
		v.reads("This is the only Master Admin who can sign in. Make somebody else Master Admin first.")
		v.press("Edit")
		v.onPage("Edit Ada Moreau")
		v.tick("Master Admin")
		v.press("Save")
		v.reads("This is the only Master Admin who can sign in. Make somebody else Master Admin first.")
		v.picture("109-last-admin")
		v.goTo("/admin")
		v.onPage("Overview")

		// With the other one back, it is their own to give up.
		v.goTo("/admin/users/second-demo")
		v.press("Enable")
		v.press("Enable")
		v.reads("The account is enabled.")
		v.goTo("/admin/users/admin-demo/edit")
		v.tick("Master Admin")
		v.press("Save")
		v.onPage("Sign in") // with other rights
		v.giveCredentials(admin, sut.DemoPassword)
		v.giveCode(appCode, s.Code(key))
		v.goTo("/admin")
		v.onPage("This is not yours to see")
		v.reads("You can ask: Sven Lindqvist")
		v.readsNot("Ada Moreau, Sven")
	})
}

// passwordLink is the link on the page that shows it, as a path; it leads to this portal.
func (v *visitor) passwordLink(name string) string {
	v.t.Helper()
	v.onPage("Password link for " + name)
	v.reads("The account is there.", "It is shown only now, and works once.")
	link := ask[string](v, `document.querySelector("#link code").innerText`)
	path, here := strings.CutPrefix(link, v.scene.Base)
	if !here || !strings.HasPrefix(path, "/welcome/") {
		v.t.Fatalf("the link is %q, want one to %s/welcome/…", link, v.scene.Base)
	}
	return path
}

// choosesPassword fills and sends the form of a password link.
func (v *visitor) choosesPassword(password, again string) {
	v.t.Helper()
	v.fill("New password", password)
	v.fill("New password, once more", again)
	v.press("Set password")
}
