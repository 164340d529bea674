package browser

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sallyport/test/sut"
)

const (
	agent     = "agent@demo.test"
	firstPage = "/account?from=mail" // a page that somebody asks for before they have signed in
)

// TestB12AuthenticatorApp is the whole life of an authenticator: from the first sign-in over the QR code to the second
// sign-in, with every usual mistake on the way.
func TestB12AuthenticatorApp(t *testing.T) {
	everyWay(t, func(s *scene) {
		v := s.visitor()
		v.goTo(firstPage)
		v.isAt("/sign-in?notice=first&return=" + url.QueryEscape(firstPage))
		v.reads("Please sign in to go on.", "Northwind Portal", "support@northwind.test")
		v.hasFocusOn("Email")
		v.picture("02-sign-in-first")

		// Nothing typed, then a wrong password.
		if s.scripts {
			v.click("Sign in")
			v.hasFocusOn("Email")
		} else {
			v.press("Sign in")
			v.reads("Two things are missing:")
		}
		v.reads("Please enter valid email", "Please enter password")
		v.picture("03-sign-in-missing")
		v.giveCredentials(agent, "open-sesame")
		v.reads("That email and password do not match.")
		v.hasFocusOn("Password")
		v.picture("04-sign-in-wrong")

		v.giveCredentials(agent, sut.DemoPassword)
		v.onPage("One more lock on your door")
		v.isAt("/sign-in/enroll")
		v.hasFocusOn("Set up")
		v.picture("05-welcome-app")
		v.press("Set up")

		v.onPage("Scan this code")
		v.picture("06-scan")
		key := v.scan()
		v.click("Show secret key")
		if shown := v.shownKey(); strings.ReplaceAll(shown, " ", "") != key {
			t.Errorf("the key shown for typing is %s, the one in the QR code %s", shown, key)
		} else if !regexp.MustCompile(`^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$`).MatchString(shown) {
			t.Errorf("the key %q is not shown in groups of four", shown)
		}
		v.picture("07-scan-key")
		v.click("Need help?")
		v.reads("Google Authenticator, Microsoft Authenticator, Duo Mobile, Authy and LastPass", "No scanner, or no camera?", "time-based, six digits, 30 seconds", "automatic date and time")
		v.picture("08-scan-help")

		v.fill("Code from the app", sut.WrongCode(t, key, s.Now()))
		v.press("Turn on")
		v.reads("That code is not right.", "4 tries left.")
		v.hasFocusOn("Code from the app")
		v.picture("09-scan-wrong")
		if again := v.scan(); again != key {
			t.Error("after a wrong code the page shows another secret")
		}
		v.fill("Code from the app", spaced(s.Code(key)))
		v.fill("Name of this device (optional)", "Pixel 9")
		v.press("Turn on")

		v.onPage("Congratulations, that's it")
		v.hasFocusOn("Continue")
		v.picture("10-done-app")
		v.press("Continue")
		v.isAt(firstPage)
		v.onPage("You are in")
		v.reads("Amir Haddad", "Authenticator app", "Pixel 9 · since")
		v.readsNot(key)
		v.picture("11-account-app")

		v.signOut()
		v.giveCredentials(agent, sut.DemoPassword)
		v.onPage("Enter your code")
		v.isAt("/sign-in/code")
		v.reads("Your login is protected with an authenticator app.", "Open it on Pixel 9.")
		v.hasFocusOn("Code from the app")
		v.picture("14-code-app")
		v.giveCode("Code from the app", sut.WrongCode(t, key, s.Now()))
		v.reads("That code is not right.", "4 tries left.")
		v.picture("15-code-app-wrong")
		v.giveCode("Code from the app", s.Code(key)) // of the next 30 seconds
		v.isAt("/account")
		v.onPage("You are in")

		// Whoever is signed in already is not asked again.
		v.goTo("/sign-in?return=" + url.QueryEscape(firstPage))
		v.isAt(firstPage)
	})
}

// TestB16ClockAndLock shows what a phone with a wrong clock and a person with wrong codes are told.
func TestB16ClockAndLock(t *testing.T) {
	everyWay(t, func(s *scene) {
		key, _ := s.EnrolTOTP(agent)
		s.Advance(sut.Step)
		v := s.visitor()
		v.signIn("/sign-in", agent)
		slow := func() string { return sut.CodeAt(t, key, s.Now().Add(-10*time.Minute)) }
		v.giveCode("Code from the app", slow())
		v.reads("That code is not right.")
		s.Advance(sut.Step)
		v.giveCode("Code from the app", slow())
		v.reads("Your phone's clock is 10 minutes behind.", "Turn on automatic date and time")
		v.picture("17-code-app-clock")

		for range 3 {
			v.giveCode("Code from the app", sut.WrongCode(t, key, s.Now()))
		}
		v.reads("Too many wrong codes. Try again at", " seconds)")
		if s.scripts {
			v.reads("M (in") // the reader's own time: 4:05 PM
			if slices.ContainsFunc(v.controls(), func(c control) bool { return c.role == "button" && c.name == "Continue" && !c.disabled }) {
				t.Error("a code can be sent while none is taken")
			}
		} else {
			v.reads("UTC (in")
		}
		v.picture("16-code-app-locked")
		if !s.scripts {
			v.fill("Code from the app", s.Code(key))
			v.press("Continue")
			v.reads("Too many wrong codes. Try again at") // a right code does not open it
		}
		s.Advance(31 * time.Second)
		v.goTo("/sign-in/code")
		v.giveCode("Code from the app", s.Code(key))
		v.onPage("You are in")
	})
}

// TestB38Keyboard is the way in and out for somebody who has no mouse.
func TestB38Keyboard(t *testing.T) {
	everyWay(t, func(s *scene) {
		const enter = kb.Enter
		v := s.visitor()
		v.goTo("/sign-in")
		v.hasFocusOn("Email")
		v.focusShows()
		v.keys(agent)
		v.tabTo("Password")
		v.keys(sut.DemoPassword)
		v.tabTo("Sign in")
		v.load("the page after signing in", func() { v.keys(enter) })
		v.hasFocusOn("Set up")
		v.load("the QR code", func() { v.keys(enter) })
		v.onPage("Scan this code")
		if s.scripts {
			v.hasFocusOn("Code from the app")
			v.backTo("Show secret key")
		} else {
			v.tabTo("Show secret key")
		}
		v.keys(enter)
		v.reads("Spaces and case do not matter.")
		key := strings.ReplaceAll(v.shownKey(), " ", "")
		v.tabTo("Code from the app")
		v.keys(s.Code(key))
		v.tabTo("Turn on")
		v.load("the congratulations", func() { v.keys(enter) })
		v.hasFocusOn("Continue")
		v.load("the account", func() { v.keys(enter) })
		v.onPage("You are in")

		v.tabTo("Skip to content")
		v.picture("13-skip-link")
		v.keys(enter)
		if passed := v.tabTo("Make recovery codes"); slices.Contains(passed, "Account menu, Amir Haddad") {
			t.Error("the link to skip to the content skips nothing")
		}
		v.goTo("/account")
		v.tabTo("Account menu, Amir Haddad")
		v.keys(enter)
		v.reads("Your account")
		if s.scripts {
			v.keys(kb.Escape)
			v.await("the menu to close", func() bool { return !v.sees("Your account", "link") })
			v.hasFocusOn("Account menu, Amir Haddad")
			v.keys(enter)
		}
		v.tabTo("Your account")
		v.tabTo("Sign out")
		v.load("the way out", func() { v.keys(enter) })
		v.reads("You are signed out.")

		v.keys(agent)
		v.tabTo("Password")
		v.keys(sut.DemoPassword)
		v.load("the code page", func() { v.keys(enter) }) // as everybody does
		v.hasFocusOn("Code from the app")
		v.load("the account", func() {
			v.keys(s.Code(key))
			if !s.scripts {
				v.keys(enter)
			}
		})
		v.onPage("You are in")
	}, withMouse)
}

// TestB14CodeGoesByItself shows that a complete code is sent without a click, and once.
func TestB14CodeGoesByItself(t *testing.T) {
	withScripts(t, func(s *scene) {
		key, _ := s.EnrolTOTP(agent)
		v := s.visitor()
		v.signIn("/sign-in", agent)
		v.fill("Code from the app", "12345")
		v.command("a", "selectAll")
		v.keys("abcdef")
		if n := v.watch.sent("/sign-in/code"); n != 0 {
			t.Fatalf("what is no code was sent %d times", n)
		}
		code := s.Code(key)
		v.load("the account", func() { v.fill("Code from the app", spaced(code)) })
		v.onPage("You are in")
		if n := v.watch.sent("/sign-in/code"); n != 1 {
			t.Fatalf("the code was sent %d times, want once", n)
		}

		// From the clipboard, as it came in a message.
		v.signOut()
		code = s.Code(key)
		v.fill("Email", spaced(code)+" is your code.")
		v.command("a", "selectAll")
		v.command("c", "copy")
		v.giveCredentials(agent, sut.DemoPassword)
		v.onPage("Enter your code")
		v.load("the account", func() { v.command("v", "paste") })
		v.onPage("You are in")
		if n := v.watch.sent("/sign-in/code"); n != 2 {
			t.Fatalf("the pasted code was sent %d times, want once", n-1)
		}
	})
}

// giveCode types a code on a page that asks for one. With JavaScript it goes by itself.
func (v *visitor) giveCode(label, code string) {
	v.t.Helper()
	v.load("what becomes of the code", func() {
		v.fill(label, code)
		if !v.scene.scripts {
			v.keys(kb.Enter)
		}
	})
}

// signOut does so by the menu.
func (v *visitor) signOut() {
	v.t.Helper()
	var menu string
	v.await("the menu", func() bool {
		for _, c := range v.controls() {
			if strings.HasPrefix(c.name, "Account menu, ") {
				menu = c.name
			}
		}
		return menu != ""
	})
	v.click(menu)
	v.find("Your account", "link")
	v.picture("12-menu")
	v.press("Sign out")
	v.reads("You are signed out.")
}

// scan reads the agent's QR code.
func (v *visitor) scan() (key string) { v.t.Helper(); return v.scanOf(agent) }

// scanOf does what a phone's camera does: it takes a picture of the QR code and reads the key of this account from it.
func (v *visitor) scanOf(email string) (key string) {
	v.t.Helper()
	var box []float64
	for _, c := range v.controls() {
		if c.role == "image" && strings.HasPrefix(c.name, "QR code") {
			box = call(v, dom.GetBoxModel, dom.GetBoxModelParams{BackendNodeID: c.node}).Model.Border
		}
	}
	if len(box) != 8 {
		v.t.Fatalf("there is no QR code\n%s", v.where())
	}
	whole := true
	shot := call(v, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: &whole, Clip: &page.Viewport{X: box[0], Y: box[1], Width: box[4] - box[0], Height: box[5] - box[1], Scale: 1},
	})
	file := filepath.Join(v.t.TempDir(), "qr.png")
	if err := os.WriteFile(file, shot.Data, 0o600); err != nil {
		v.t.Fatal(err)
	}
	out, err := exec.Command("zbarimg", "-q", "--raw", file).Output()
	if err != nil {
		v.t.Fatalf("zbarimg does not read the QR code: %v", err)
	}
	uri, err := url.Parse(strings.TrimSpace(string(out)))
	if err != nil || uri.Scheme != "otpauth" || uri.Host != "totp" {
		v.t.Fatalf("the QR code says %q, want otpauth://totp/…", out)
	}
	q := uri.Query()
	if want := "/" + v.scene.portal + ":" + email; uri.Path != want || q.Get("issuer") != v.scene.portal {
		v.t.Errorf("the QR code names %q of issuer %q, want %q", uri.Path, q.Get("issuer"), want)
	}
	for name, usual := range map[string]string{"algorithm": "SHA1", "digits": "6", "period": "30"} {
		if got := q.Get(name); got != "" && got != usual {
			v.t.Errorf("the QR code says %s=%s, which not every app knows; want %s", name, got, usual)
		}
	}
	return q.Get("secret")
}

// shownKey is the key for typing, as it is shown.
func (v *visitor) shownKey() string {
	v.t.Helper()
	return ask[string](v, `document.querySelector("code.key").innerText`)
}

// tabTo presses the tab key until a control has the focus, and checks that the focus can be seen all the way. It
// returns the names that it passed.
func (v *visitor) tabTo(name string) []string {
	v.t.Helper()
	return v.walkTo(name, func() { v.keys(kb.Tab) })
}

// backTo is tabTo in the other direction.
func (v *visitor) backTo(name string) {
	v.t.Helper()
	v.walkTo(name, func() { v.keys(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)) })
}

func (v *visitor) walkTo(name string, step func()) (passed []string) {
	v.t.Helper()
	for range 40 {
		step()
		c := v.focus()
		if c.name != "" {
			v.focusShows()
		}
		if c.name == name {
			return passed
		}
		passed = append(passed, c.name)
	}
	v.t.Fatalf("the keyboard does not reach %q, only %q\n%s", name, passed, v.where())
	return nil
}

// spaced writes a code as apps show it: 123 456.
func spaced(code string) string { return code[:3] + " " + code[3:] }
