package browser

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"sallyport/test/sut"
)

// TestB30RecoveryCodes is the life of recovery codes: made, kept, made anew, and used when the phone is gone.
func TestB30RecoveryCodes(t *testing.T) {
	everyWay(t, func(s *scene) {
		key, _ := s.EnrolTOTP(agent)
		v := s.visitor()
		v.signIn("/sign-in", agent)
		v.giveCode("Code from the app", s.Code(key))
		v.reads("You have none yet")
		v.press("Make recovery codes")
		v.onPage("Your recovery codes")
		v.reads("They are shown only now. Keep them somewhere safe")
		v.picture("40-recovery-codes")
		old := v.recoveryCodes()

		file := v.download("Download", "*.txt")
		for _, c := range old {
			if !strings.Contains(file, c) {
				t.Errorf("the downloaded file lacks the code %s", c)
			}
		}
		if !strings.Contains(file, "Northwind Portal") || !strings.Contains(file, agent) {
			t.Errorf("the downloaded file does not say what it is for:\n%s", file)
		}
		if s.scripts {
			// Where the clipboard is not for pages, the codes are chosen, and one key copies them.
			v.allowClipboard(false)
			v.click("Copy")
			v.await("the codes to be chosen", func() bool {
				return ask[string](v, `getSelection().toString().trim().split(/\s+/).join(" ")`) == strings.Join(old, " ")
			})
			v.allowClipboard(true)
			v.click("Copy")
			v.find("Copied", "button")
			v.prints("Print")
		}
		v.media("print", "")
		v.reads("Northwind Portal · "+agent, old[0], old[9])
		if v.sees("Print", "button") || v.sees("Download", "link") || v.sees("I have kept them", "link") {
			t.Error("the printed page has buttons")
		}
		if s.scripts {
			v.keepPicture("41-recovery-codes-printed")
		}
		v.media("", "")
		v.press("I have kept them")
		v.reads("10 codes left")
		v.readsNot(old[0])
		v.picture("42-account-codes")

		// Minutes later, new ones need password and code again.
		s.Advance(6 * time.Minute)
		v.goTo("/account")
		v.click("Make new codes")
		v.reads("Enter your password and a new code.", "Your earlier codes stop working.")
		v.picture("43-step-up")
		v.stepUp("open-sesame", s.Code(key))
		v.reads("That password is not right.")
		v.hasFocusOn("Password")
		v.picture("44-step-up-wrong")
		v.stepUp(sut.DemoPassword, sut.WrongCode(t, key, s.Now()))
		v.reads("That code is not right.")
		v.hasFocusOn("Code from the app")
		v.stepUp(sut.DemoPassword, s.Code(key))
		v.onPage("Your recovery codes")
		v.reads("Your earlier codes no longer work.")
		codes := v.recoveryCodes()
		v.press("I have kept them")
		v.signOut()

		// The phone is gone.
		v.giveCredentials(agent, sut.DemoPassword)
		v.press("Lost your phone, or got a new one?")
		v.onPage("Phone lost or replaced")
		v.picture("18-lost-app")
		v.press("Use a recovery code")
		v.onPage("Use a recovery code")
		v.hasFocusOn("Recovery code")
		v.reads("the old one stops working and you set up a new one right away")
		v.picture("45-recover")
		v.fill("Recovery code", old[0])
		v.press("Continue")
		v.reads("That recovery code is not right, or was used before.")
		v.picture("46-recover-wrong")
		v.fill("Recovery code", strings.ToLower(strings.ReplaceAll(codes[3], "-", " ")))
		v.press("Continue")
		v.onPage("Set up your second factor again")
		v.reads("Your old one no longer works.")
		v.picture("47-welcome-again")
		v.press("Set up")
		next := v.scan()
		if next == key {
			t.Error("after recovery the old secret is offered again")
		}
		v.fill("Code from the app", s.Code(next))
		v.press("Turn on")
		v.onPage("Congratulations, that's it")
		v.press("Continue")
		v.onPage("You are in")
		v.signOut()

		// Neither the old app nor the used code opens anything.
		v.giveCredentials(agent, sut.DemoPassword)
		s.Advance(sut.Step)
		v.giveCode("Code from the app", s.Code(key))
		v.reads("That code is not right.")
		v.press("Use a recovery code")
		v.fill("Recovery code", codes[3])
		v.press("Continue")
		v.reads("That recovery code is not right, or was used before.")
		v.press("Back to the code")
		v.giveCode("Code from the app", s.Code(next))
		v.onPage("You are in")
	})
}

// recoveryCodes are the codes on the page.
func (v *visitor) recoveryCodes() []string {
	v.t.Helper()
	codes := strings.Fields(ask[string](v, `[...document.querySelectorAll("ol.codes code")].map((e) => e.innerText).join(" ")`))
	if len(codes) != 10 || len(slices.Compact(slices.Sorted(slices.Values(codes)))) != 10 {
		v.t.Fatalf("the page shows the codes %q, want ten different ones", codes)
	}
	return codes
}

// stepUp fills and sends the form that asks for password and code again.
func (v *visitor) stepUp(password, code string) {
	v.t.Helper()
	v.fill("Password", password)
	v.fill("Code from the app", code)
	v.press("Make recovery codes")
}

// download follows a link that downloads a file whose name is like pattern, and returns what is in it.
func (v *visitor) download(name, pattern string) string {
	v.t.Helper()
	dir, events := v.t.TempDir(), true
	_, err := chromedp.CallBrowser(v.tab, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, BrowserContextID: chromedp.FromContext(v.tab).BrowserContextID,
		DownloadPath: dir, EventsEnabled: &events,
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.click(name)
	var file string
	v.await("the downloaded file", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is right
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err == nil && len(content) > 0 {
				file = string(content)
			}
		}
		return file != ""
	})
	return file
}

// prints presses a button and checks that the browser was asked to print.
func (v *visitor) prints(name string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.tab, patience)
	defer cancel()
	asked := chromedp.Events(ctx, runtime.BindingCalled)
	call(v, runtime.AddBinding, runtime.AddBindingParams{Name: "askedToPrint"})
	ask[bool](v, `(window.print = () => askedToPrint("")) !== undefined`) // a printer's dialog would wait for somebody
	v.click(name)
	for e, err := range asked {
		if err != nil {
			v.t.Fatalf("%q does not print: %v", name, err)
		}
		if e.Name == "askedToPrint" {
			return
		}
	}
}

// allowClipboard says whether pages may write to the clipboard, as a browser's settings do.
func (v *visitor) allowClipboard(yes bool) {
	v.t.Helper()
	setting := browser.PermissionSettingDenied
	if yes {
		setting = browser.PermissionSettingGranted
	}
	call(v, browser.SetPermission, browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: "clipboard-write"}, Setting: setting, Origin: v.scene.Base, BrowserContextID: chromedp.FromContext(v.tab).BrowserContextID})
}

// keepPicture takes one picture of the page as it is.
func (v *visitor) keepPicture(name string) {
	v.t.Helper()
	if !*takePictures {
		return
	}
	dir, err := pictures()
	if err != nil {
		v.t.Fatalf("no place for screenshots: %v", err)
	}
	v.capture(filepath.Join(dir, name+".png"))
}
