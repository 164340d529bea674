package browser

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"

	"sallyport/test/sut"
)

// TestDoorThereAndBack: a portal that has checked the password sends a person over, and gets them back. Both ways lead
// from one origin to another, out of forms, which browsers watch.
func TestDoorThereAndBack(t *testing.T) {
	bothWays(t, func(s *scene) {
		const dana = "dana@northwind.test"
		portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write([]byte(`<!doctype html><html lang="en"><title>Portal</title><link rel="icon" href="data:,"><h1>Back at the portal</h1>`)) // the browser may be gone
		}))
		s.t.Cleanup(portal.Close)
		s.Operate(0, "portal", "return-url", "add", "--portal=demo", portal.URL+"/after")
		key := strings.TrimSpace(s.Operate(0, "portal", "key", "create", "--portal=demo").Stdout())
		begin := func() (id, url string) {
			a := sut.Want[struct{ ID, URL string }](s.t, http.StatusCreated, s.Do("POST", "/v1/sign-ins", key, map[string]any{
				"user": map[string]string{"id": "4711", "email": dana, "audience": "internal"}, "return_url": portal.URL + "/after",
			}))
			return a.ID, a.URL
		}
		redeems := func(id, code string) {
			s.t.Helper()
			sut.Expect(s.t, s.Do("POST", "/v1/sign-ins/"+id+"/redeem", key, map[string]string{"code": code}), http.StatusOK, "")
		}

		v := s.visitor()
		v.watch.portal = portal.URL
		id, url := begin()
		v.through(url)
		v.onPage("One more lock on your door")
		v.press("Set up")
		secret := v.scanOf(dana)
		v.fill("Code from the app", s.Code(secret))
		v.press("Turn on")
		v.onPage("Congratulations, that's it")
		redeems(id, v.leaves(func() { v.click("Continue") }, portal.URL+"/after?sign_in="+id+"&code="))

		id, url = begin()
		v.through(url)
		v.onPage("Enter your code")
		code := v.leaves(func() {
			v.fill("Code from the app", s.Code(secret))
			if !s.scripts {
				v.click("Continue")
			}
		}, portal.URL+"/after?sign_in="+id+"&code=")
		redeems(id, code)
		v.goTo("/account")
		v.reads(dana, "your portal's sign-in, authenticator app")

		// The same link again, from the history of the browser.
		v.goTo(strings.TrimPrefix(url, s.Base))
		v.reads("This link was used or is too old.")
	})
}

// through opens the way in that a portal was given: a script goes on by itself, a person without one presses the button.
func (v *visitor) through(url string) {
	v.t.Helper()
	if !v.scene.scripts {
		v.goTo(strings.TrimPrefix(url, v.scene.Base))
		v.onPage("One more step")
		v.press("Continue")
		return
	}
	// Both pages are left alone until they are there: whoever asks for a tree of controls has it laid out, styled or not.
	before := v.watch.loaded()
	if r := call(v, page.Navigate, page.NavigateParams{URL: url}); r.ErrorText != "" {
		v.t.Fatalf("%s: %s", url, r.ErrorText)
	}
	v.await("the page behind the door", func() bool { return v.watch.loaded() > before+1 })
	v.lookAtPage()
}

// leaves does what leads back to the portal, waits until the browser is there, and returns what its address ends with.
func (v *visitor) leaves(act func(), to string) (more string) {
	v.t.Helper()
	act()
	v.await("the portal at "+to, func() bool {
		there := false
		more, there = strings.CutPrefix(ask[string](v, "location.href"), to)
		return there
	})
	v.await("the portal's page", func() bool {
		return ask[bool](v, `performance.getEntriesByType("navigation")[0].loadEventEnd > 0`) && v.sees("Back at the portal", "heading")
	})
	return more
}
