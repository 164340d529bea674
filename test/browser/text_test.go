package browser

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

const (
	clerk  = "clerk@acme.test"
	number = "+17015559443"
	code   = "Six-digit code"
)

// TestB19TextMessage is the whole life of a number: given, confirmed, and used at the next sign-in.
func TestB19TextMessage(t *testing.T) {
	everyWay(t, func(s *scene) {
		v := s.visitor()
		v.signIn("/sign-in?return=%2Faccount%3Ffrom%3Dmail", clerk)
		v.onPage("One more lock on your door")
		v.reads("A code by text message")
		v.picture("20-welcome-text")
		v.press("Set up")

		v.onPage("Your mobile number")
		v.hasFocusOn("Mobile number")
		v.picture("21-phone")
		for typed, why := range map[string]string{"12345": "number", "+49 1512 3456789": "country"} {
			v.fill("Mobile number", typed)
			v.press("Text me a code")
			v.await("the reason", func() bool { return strings.Contains(v.errorText("phone"), why) })
			v.hasFocusOn("Mobile number")
		}
		v.picture("22-phone-wrong")

		s.Faults("throttle", 2) // the carrier takes it at the third try
		v.fill("Mobile number", "(701) 555-9443")
		v.press("Text me a code")
		v.onPage("Confirm your number")
		v.reads("An authentication code has been sent to")
		v.picture("23-confirm")
		v.readsSent()
		v.picture("24-confirm-sent")
		v.giveCode(code, "000000")
		v.reads("That code is not right.", "4 tries left.")
		v.giveCode(code, s.LastCode(number))

		v.onPage("Sign in")
		v.isAt("/sign-in?notice=confirmed&return=%2Faccount%3Ffrom%3Dmail")
		v.reads("Your number is confirmed. Sign in once more, with a new code.")
		v.picture("25-confirmed")

		v.giveCredentials(clerk, sut.DemoPassword)
		v.onPage("Enter the code we texted you")
		v.reads("Message sent to xxx-xxx-9443")
		v.readsNot("555")
		v.hasFocusOn(code)
		v.readsSent()
		v.picture("26-code-text")

		// Resend, from when the server allows it.
		if s.scripts {
			v.resendIsHeld()
		} else {
			v.press(v.resendLabel())
			v.reads("Please wait a moment before you ask for another text.")
			v.pictureOf("28-code-text-too-soon-without-javascript")
		}
		first := s.CodeAfter(number, 1)
		s.Advance(31 * time.Second)
		v.goTo("/sign-in/code")
		v.find("Resend", "button")
		v.picture("27-code-text-resend")
		v.press("Resend")
		v.onPage("Enter the code we texted you")
		second := s.CodeAfter(number, 2)
		v.readsSent()
		if s.scripts {
			s.Advance(50 * time.Second) // of a minute; this machine may take some of the rest
			v.goTo("/sign-in/code")
			v.resendIsHeld()
			v.find("Resend", "button") // when the countdown has ended, by itself
		}
		if first != second {
			v.giveCode(code, first)
			v.reads("That code is not right.")
			v.picture("29-code-text-wrong")
		}
		v.giveCode(code, second)
		v.isAt("/account?from=mail")
		v.onPage("You are in")
		v.reads("Clara Weiss", "Text message")
		v.readsNot("555")
		v.picture("32-account-text")

		for _, m := range s.Messages(number) {
			if !strings.Contains(m.Body, "Northwind Portal") || !strings.HasSuffix(m.Body, "\n@127.0.0.1 #"+sut.CodeIn(t, m.Body)) {
				t.Errorf("the text %q does not name the portal or does not end with the line for phones", m.Body)
			}
		}
	})
}

// TestB26FailedDelivery shows that the page tells the truth about a message that never arrives, and other ways in.
func TestB26FailedDelivery(t *testing.T) {
	everyWay(t, func(s *scene) {
		s.EnrolSMS(clerk, number)
		s.Faults("opted_out", 0)
		v := s.visitor()
		v.signIn("/sign-in", clerk)
		v.onPage("Enter the code we texted you")
		v.readsState("Delivery failed")
		v.reads("This number has refused our texts.", "Not sent to xxx-xxx-9443")
		v.readsNot("Message sent to")
		v.picture("30-code-text-failed")

		v.press("Phone number incorrect or needs to be updated?")
		v.onPage("Phone lost or number changed")
		v.reads("Ask an administrator of your organization or of the portal", "support@northwind.test")
		v.picture("31-lost-text")
		v.press("Back to the code")

		s.Faults("none", 0)
		s.Advance(31 * time.Second)
		v.goTo("/sign-in/code")
		seen := len(s.Messages(number))
		v.press("Try again")
		v.reads("Message sent to xxx-xxx-9443")
		v.readsSent()
		v.giveCode(code, s.CodeAfter(number, seen))
		v.onPage("You are in")
	})
}

// TestB26AnotherWayIn shows that whoever waits in vain is offered another way: after half a minute by itself, and without
// JavaScript from the start. Nothing else on the page moves.
func TestB26AnotherWayIn(t *testing.T) {
	const temp = "temp@acme.test"
	everyWay(t, func(s *scene) {
		v := s.visitor()
		v.signIn("/sign-in", temp)
		v.press("Set up")
		v.fill("Mobile number", number)
		v.press("Text me a code")
		v.onPage("Confirm your number")
		v.readsSent()
		s.waits(v, "Didn't get it?")
		v.reads("Give another number", "Go on without it for now", "support@northwind.test")
		v.picture("90-confirm-other-ways")
		v.press("Give another number")
		v.onPage("Your mobile number")
		v.goTo("/sign-in/code")
		v.press("Go on without it for now")
		v.isAt("/account")

		s.EnrolSMS(clerk, number)
		w := s.visitor()
		w.signIn("/sign-in", clerk)
		w.onPage("Enter the code we texted you")
		w.readsSent()
		s.waits(w, "Didn't get it?")
		w.picture("91-code-text-other-ways")
		if !s.scripts {
			w.pictureOf("91-code-text-other-ways-without-javascript")
		}
		w.press("Sign in with a recovery code")
		w.onPage("Use a recovery code")

		// A limit says until when, and what else there is.
		const owner, second = "owner@acme.test", "+17015559446"
		s.EnrolSMS(owner, second)
		s.Advance(11 * time.Minute)
		other := s.BeginSignIn(owner)
		for range 20 {
			a := s.Do("POST", other.Path("/resend"), other.Token, nil)
			if a.Is(429, "rate_limited") {
				break
			}
			s.Advance(time.Duration(a.Problem().RetryAfter) * time.Second)
		}
		w.signIn("/sign-in", owner)
		w.onPage("Enter the code we texted you")
		w.reads("No new text just now", "Try again in", "Other ways")
		w.readsNot("That code is not right.")
		w.find("Sign in with a recovery code", "link")
		w.picture("92-code-text-limit")
	})
}

// waits lets half a minute pass, and checks that the other ways appear then, and that nothing moves.
func (s *scene) waits(v *visitor, heading string) {
	s.t.Helper()
	if !s.scripts {
		v.reads(heading)
		return
	}
	v.readsNot(heading)
	height := `document.documentElement.scrollHeight`
	before := ask[int](v, height)
	s.Advance(12 * time.Second)
	v.goTo("/sign-in/code")
	v.readsNot(heading)
	v.reads(heading) // by itself, when it is time
	v.reads("Your text has not come? There are other ways now, below.")
	if after := ask[int](v, height); after != before {
		s.t.Errorf("the page was %d px high, and is %d px with the other ways", before, after)
	}
}

// TestB04Skip is the way of somebody who declines where the portal lets them.
func TestB04Skip(t *testing.T) {
	const temp = "temp@acme.test"
	everyWay(t, func(s *scene) {
		v := s.visitor()
		v.signIn("/sign-in", temp)
		v.onPage("One more lock on your door")
		v.press("Set up")
		v.press("Skip for now") // there, too
		v.isAt("/account")
		v.onPage("You are in")
		v.reads("Tomas Varga", "None yet")
		v.picture("33-account-skipped")
		v.signOut()
		v.giveCredentials(temp, sut.DemoPassword)
		v.isAt("/account")
		v.onPage("You are in")
	})
}

// readsSent waits until the page says that the message was handed over: by itself with JavaScript, and when asked
// again without.
func (v *visitor) readsSent() { v.t.Helper(); v.readsState("Handed to your carrier") }

func (v *visitor) readsState(words string) {
	v.t.Helper()
	if v.scene.scripts {
		v.reads(words)
		return
	}
	v.await(words, func() bool {
		if strings.Contains(v.text(), words) {
			return true
		}
		v.press("Check again")
		return false
	})
}

// resendLabel is what the button for another message says now.
func (v *visitor) resendLabel() string {
	v.t.Helper()
	var label string
	v.await("the button for another message", func() bool {
		all := v.controls()
		i := slices.IndexFunc(all, func(c control) bool { return c.role == "button" && strings.HasPrefix(c.name, "Resend") })
		if i >= 0 {
			label = all[i].name
		}
		return i >= 0
	})
	return label
}

// resendIsHeld checks that the button counts down, and cannot be pressed.
func (v *visitor) resendIsHeld() {
	v.t.Helper()
	before := v.resendLabel()
	if !strings.HasPrefix(before, "Resend (") {
		v.t.Fatalf("the button says %q, want a countdown", before)
	}
	for _, c := range v.controls() {
		if c.role == "button" && c.name == before && !c.disabled {
			v.t.Errorf("%q can be pressed", before)
		}
	}
	v.await("the countdown to go on", func() bool { return v.resendLabel() != before })
}

// errorText is what a page says is wrong with a field.
func (v *visitor) errorText(field string) string {
	v.t.Helper()
	return ask[string](v, `document.getElementById("`+field+`-error")?.innerText ?? ""`)
}
