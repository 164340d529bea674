package attack

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sallyport/test/sut"
)

// doorPath is before the ticket in the address with which a browser comes through the portal door.
const doorPath = "/sign-in/door/"

// Pages that lead back to the portal, with the code that the browser brings home.
var (
	homePages  = regexp.MustCompile(`^/sign-in/(back|done)$`)
	homeOnPage = regexp.MustCompile(`[?&;]code=([0-9a-f]{32})\b`)
)

// doorPage notes what a page of the portal door shows: the ticket, to the browser that came with it and in time, and the
// code, to the browser that brings it home.
func (w *witness) doorPage(path string, a sut.Answer) {
	if ticket, ok := strings.CutPrefix(path, doorPath); ok && a.Status == http.StatusOK {
		w.h.hides("a ticket", ticket, standsIn(w.last))
		w.h.hides("the secret part of a ticket", ticket[strings.LastIndexByte(ticket, '_')+1:], standsIn(w.last))
	}
	if homePages.MatchString(path) {
		for _, m := range homeOnPage.FindAllStringSubmatch(a.Header.Get("Refresh")+"\n"+string(a.Body), -1) {
			w.h.hides("the code that is brought home", m[1], standsIn(w.last))
		}
	}
}

// passage is a sign-in at the portal door, as the portal's server has it.
type passage struct {
	sut.SignIn
	URL string
}

// apiKey makes an API key, and tells the hunter.
func (r *run) apiKey(name string) (id, key string) {
	r.t.Helper()
	key = strings.TrimSpace(r.command(0, "portal", "key", "create", "--portal=demo", "--name="+name).Stdout())
	part := strings.Split(key, "_")
	if len(part) != 3 || part[0] != "sp" {
		r.t.Fatal("what the command prints is no API key")
	}
	r.token("an API key", key, r.last)
	return part[1], key
}

// door: people come from a portal and go back to it, with an authenticator, with a text, and by the portal's own pages.
func (r *run) door() {
	t := r.t
	const home, number = "https://portal.example.com/after?tab=1", "+17015558416"
	id, key := r.apiKey("client portal")
	r.command(0, "portal", "return-url", "add", "--portal=demo", home)
	internal := map[string]any{"id": "4711", "email": "dana@northwind.test", "name": "Dana Miller", "audience": "internal"}
	contact := map[string]any{"id": "c1", "email": "rosa@initech.test", "audience": "organization", "organization": "Initech"}
	sends := func(user map[string]any, returnURL string) passage {
		t.Helper()
		return sut.Want[passage](t, http.StatusCreated, r.Do("POST", "/v1/sign-ins", key, map[string]any{"user": user, "return_url": returnURL, "state": "a b&c"}))
	}
	redeem := func(s passage, word string) sut.Answer {
		return r.Do("POST", s.Path("/redeem"), key, codeIs(word))
	}
	through := func(s passage) *reader {
		t.Helper()
		v := r.reader()
		v.get(strings.TrimPrefix(s.URL, r.Base))
		v.post("/sign-in/door", url.Values{"ticket": {s.URL[strings.LastIndexByte(s.URL, '/')+1:]}})
		return v
	}
	brings := func(v *reader) string {
		t.Helper()
		m := homeOnPage.FindStringSubmatch(v.a.Header.Get("Refresh") + "\n" + v.body)
		if m == nil {
			t.Fatalf("the page brings nothing home:\n%s", v.body)
		}
		return m[1]
	}

	s := sends(internal, home)
	redeem(s, strings.Repeat("0badc0de", 4))
	v := through(s)
	v.at("/sign-in/enroll")
	v.post("/sign-in/enroll/start", url.Values{})
	seed := strings.ReplaceAll(keyOnPage.FindString(v.body), " ", "")
	v.post("/sign-in/enroll/confirm", url.Values{"code": {r.Code(seed)}})
	v.at("/sign-in/done")
	word := brings(v)
	through(s) // the same link again
	r.Do("GET", s.Path(""), key, nil)
	sut.Expect(t, redeem(s, strings.Repeat("5eedcafe", 4)), http.StatusForbidden, "forbidden")
	sut.Expect(t, redeem(s, word), http.StatusOK, "")
	sut.Expect(t, redeem(s, word), http.StatusConflict, "conflict")
	for value, where := range map[string][]string{
		id:   {"command ", "wire of the store", "log"},
		s.ID: {"answer ", "page ", "wire of the bus", "log"},
		word: {"page "}, s.URL: {"answer "}, key: {"command "},
	} {
		r.controls[value] = where
	}

	s = sends(internal, home)
	v = through(s)
	v.post("/sign-in/code", url.Values{"code": {anyCode()}})
	v.post("/sign-in/code", url.Values{"code": {r.Code(seed)}})
	v.at("/sign-in/back")
	word = brings(v)
	sut.Expect(t, redeem(s, word), http.StatusOK, "")
	for _, path := range []string{"/account", "/sign-in/back", "/sign-in/done", "/sign-in"} {
		v.get(path)
	}

	// With a text; who turns back, and who comes too late.
	s = sends(contact, home)
	v = through(s)
	v.post("/sign-in/enroll/start", url.Values{})
	v.post("/sign-in/enroll/phone", url.Values{"phone": {number}})
	v.post("/sign-in/enroll/confirm", url.Values{"code": {r.LastCode(number)}})
	v.at("/sign-in/back")
	r.Advance(time.Minute)
	seen := len(r.Messages(number))
	s = sends(contact, home)
	v = through(s)
	v.post("/sign-in/code", url.Values{"code": {r.CodeAfter(number, seen)}})
	v.at("/sign-in/back")
	sut.Expect(t, redeem(s, brings(v)), http.StatusOK, "")
	v = through(sends(internal, home))
	v.post("/sign-in/cancel", url.Values{})
	s = sends(internal, home)
	r.Advance(2 * time.Minute)
	through(s)

	// The portal draws the pages.
	s = sends(internal, "")
	r.Do("POST", s.Path("/verify"), s.Token, codeIs(anyCode()))
	r.Verify(s.SignIn, r.Code(seed))
	sut.Expect(t, r.Do("POST", s.Path("/redeem"), key, nil), http.StatusOK, "")
	r.doorSlips(s, key, home)

	// What operators see of it.
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"revoke", "--id=" + id}, {"list"}} {
		r.command(0, append([]string{"portal", "key", args[0], "--portal=demo"}, args[1:]...)...)
	}
	r.command(0, "portal", "return-url", "list", "--portal=demo")
	sut.Expect(t, r.Do("POST", "/v1/sign-ins", key, map[string]any{"user": internal}), http.StatusUnauthorized, "unauthenticated")
}

// doorSlips: keys, tickets and codes where they do not belong, and such as are none.
func (r *run) doorSlips(s passage, key, home string) {
	const none = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	const slip = "K3Y7WHERENONEBELONGS2SLIPS"
	r.h.hides("a made-up key", slip)
	person := map[string]string{"email": "dana@northwind.test", "audience": "internal"}
	for _, token := range []string{"sp_" + none + "_" + slip, "sp_" + slip, key + slip, strings.Replace(key, "sp_", "se_", 1), strings.Replace(key, "sp_", "dt_", 1)} {
		r.Do("POST", "/v1/sign-ins", token, map[string]any{"user": person, "return_url": home})
		r.Do("POST", s.Path("/redeem"), token, codeIs(slip))
		r.Do("GET", "/v1/session", token, nil)
	}
	for _, body := range []map[string]any{
		{"user": map[string]string{"email": key, "audience": "internal"}},
		{"user": map[string]string{"email": "dana@northwind.test", "audience": key}},
		{"user": person, "return_url": home + "&key=" + key},
		{"user": person, "api_key": key},
		{"user": key},
		{"user": person, "password": key},
	} {
		if a := r.Do("POST", "/v1/sign-ins", key, body); a.Status < 400 {
			r.t.Errorf("a key in the body is taken: %s", a)
		}
	}
	for _, path := range []string{"/v1/sign-ins?key=" + key, "/v1/sign-ins/" + key, "/v1/sign-ins/" + key + "/redeem", doorPath + "dt_" + none + "_" + slip, doorPath + slip, doorPath + key, "/sign-in/back?code=" + slip} {
		r.Do("GET", path, key, nil)
		r.Do("POST", path, key, codeIs(slip))
	}
	v := r.reader()
	v.get("/sign-in")
	v.post("/sign-in/door", url.Values{"ticket": {"dt_" + none + "_" + slip}})
	v.post("/sign-in/door", url.Values{"ticket": {slip}})
}
