package browser

import (
	"testing"
)

// TestB34Branding is a portal that gets a name, a colour and a sentence of its own. The colour is one in which no
// letter could be read on white: pages make it readable by themselves, in light and in dark.
func TestB34Branding(t *testing.T) {
	everyWay(t, func(s *scene) {
		v := s.comesIn(admin, s.enrolled(admin), "/admin")
		v.press("Look and help")
		v.onPage("Look and help")
		v.picture("110-branding")
		v.fill("Portal's name", " ")
		v.incomplete("Save")
		v.reads("Please enter the portal's name")
		v.fill("Portal's name", "Harbour Desk")
		v.colours("#ffd400")
		v.press("Try it")
		v.picture("111-branding-try")
		v.fill("A sentence on whom to ask, and when (optional)", "The harbour master answers until five.")
		v.fill("Support email (optional)", "harbour")
		v.press("Save")
		v.picture("112-branding-wrong")
		v.fill("Support email (optional)", "help@harbour.test")
		v.fill("Where to request an account (optional)", "javascript:alert(1)")
		v.press("Save")
		v.reads("https://")
		v.fill("Where to request an account (optional)", "https://harbour.test/join")
		s.portal = "Harbour Desk" // from here on, in every title
		v.press("Save")
		v.reads("Saved. People see it from now on.", "Harbour Desk", "The harbour master answers until five.")
		v.picture("113-branding-saved")

		w := s.visitor()
		w.goTo("/sign-in")
		w.onPage("Sign in")
		w.reads("Harbour Desk", "The harbour master answers until five.", "help@harbour.test")
		w.readsNot("Northwind")
		w.find("Request account", "link")
		w.picture("114-sign-in-branded")
		w.giveCredentials(agent, "open-sesame-demo")
		w.reads("Harbour Desk now asks for a code besides your password.")
		w.press("Set up")
		w.scan() // under the new name
		w.picture("115-scan-branded")
	})
}

// colours takes a colour. Its field opens a dialog of the browser's own, which is no part of the page.
func (v *visitor) colours(colour string) {
	v.t.Helper()
	v.find("Colour", "ColorWell")
	ask[bool](v, `(() => { const field = document.getElementById("accent"); field.value = "`+colour+`"; return field.dispatchEvent(new Event("input", { bubbles: true })); })()`)
}
