package browser

import (
	"net/http"
	"strings"

	"github.com/chromedp/cdproto/network"

	"sallyport/test/sut"
)

const (
	admin  = "admin@demo.test"
	second = "second@demo.test" // the other Master Admin
	owner  = "owner@acme.test"  // looks after the contacts of Acme
	temp   = "temp@acme.test"

	appCode = "Code from the app"
)

// enrolled gives an internal user an authenticator, and leaves nobody signed in.
func (s *scene) enrolled(email string) (key string) {
	s.t.Helper()
	key, session := s.EnrolTOTP(email)
	sut.Expect(s.t, s.Do(http.MethodDelete, "/v1/session", session, nil), http.StatusNoContent, "")
	return key
}

// comesIn opens a browser for somebody with an authenticator, who signs in on the way to a page.
func (s *scene) comesIn(email, key, path string) *visitor {
	s.t.Helper()
	v := s.visitor()
	v.signIn(path, email)
	v.giveCode(appCode, s.Code(key))
	return v
}

// comesInByText is comesIn for a contact whose codes come by text message.
func (s *scene) comesInByText(email, phone, path string) *visitor {
	s.t.Helper()
	seen := len(s.Messages(phone))
	v := s.visitor()
	v.signIn(path, email)
	v.giveCode(code, s.CodeAfter(phone, seen))
	return v
}

// settles switches both populations by the API, as an admin with this key does.
func (s *scene) settles(key, internal, organizations string) {
	s.t.Helper()
	session := s.SignInTOTP(admin, key)
	s.StepUp(session, key)
	now := sut.Want[sut.Settings](s.t, http.StatusOK, s.Do(http.MethodGet, "/v1/admin/settings", session, nil))
	now.Internal.Mode, now.Organizations.Mode = internal, organizations
	sut.Want[sut.Settings](s.t, http.StatusOK, s.Do(http.MethodPut, "/v1/admin/settings", session, now))
	sut.Expect(s.t, s.Do(http.MethodDelete, "/v1/session", session, nil), http.StatusNoContent, "")
}

// proves types password and a fresh code, where a form asks whether it is still the same person.
func (v *visitor) proves(key string) {
	v.t.Helper()
	v.fill("Password", sut.DemoPassword)
	v.fill(appCode, v.scene.Code(key))
}

// incomplete sends a form in which something is missing: a script keeps it, without one the server does.
func (v *visitor) incomplete(button string) {
	v.t.Helper()
	if v.scene.scripts {
		v.click(button)
		return
	}
	v.press(button)
}

// finds searches a list of people and opens the page of the one who is found.
func (v *visitor) finds(beginning, name string) {
	v.t.Helper()
	v.fill("Search name or email", beginning)
	v.press("Show")
	v.press(name)
	v.onPage(name)
}

// isSignedOut checks that the next click leads to the sign-in page.
func (v *visitor) isSignedOut(click string) {
	v.t.Helper()
	v.press(click)
	v.onPage("Sign in")
}

// fetches asks for an address as the visitor's browser does, outside of any page.
func (v *visitor) fetches(path string) sut.Answer {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.scene.Base+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	var cookies []string
	for _, c := range call(v, network.GetCookies, network.GetCookiesParams{}).Cookies {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	req.Header.Set("Cookie", strings.Join(cookies, "; "))
	answer, err := v.scene.Send(req)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer
}

// nameThatBegins waits for a control by the beginning of its name, and returns the whole of it.
func (v *visitor) nameThatBegins(beginning, role string) (name string) {
	v.t.Helper()
	v.await(role+" "+beginning+"…", func() bool {
		for _, c := range v.controls() {
			if c.role == role && strings.HasPrefix(c.name, beginning) {
				name = c.name
				return true
			}
		}
		return false
	})
	return name
}
