package attack

import (
	"net/http"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestRule15EveryAnswerIsGuarded asks every route, as nobody and as a Master Admin, and makes every kind of refusal, the
// server's own among them. Each answer carries what keeps browsers from being misled, and each cookie is ours alone.
func TestRule15EveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]map[string]string{
		"https": {"PUBLIC_URL": "https://portal.test", "TRUSTED_PROXIES": "127.0.0.1"}, "http, on this machine": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(env)})
			https := len(env) > 0
			key, session := p.EnrolTOTP(ada)
			table := routeTable(t)
			cookies := map[string]bool{}
			look := func(a sut.Answer, path string) {
				t.Helper()
				for _, line := range a.Header.Values("Set-Cookie") {
					c, err := http.ParseSetCookie(line)
					if err != nil {
						t.Fatal(err)
					}
					cookies[c.Name] = true
					if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != https || strings.HasPrefix(c.Name, "__Host-") != https {
						t.Errorf("%s: the cookie %s: %s", path, c.Name, strings.Replace(line, c.Value, "…", 1))
					}
				}
				strict(t, a, path, https)
			}
			for _, signedIn := range []bool{false, true} {
				for _, r := range table {
					if signedIn && (r.Method == http.MethodPost || r.Method == http.MethodDelete) {
						continue // what they answer is a page that a GET answers, too
					}
					path, prefix := at(r, "AAAAAAAAAAAAAAAAAAAAAAAAAA"), "sallyport_"
					if https {
						prefix = "__Host-" + prefix
					}
					g := newGuest(t, p)
					if signedIn {
						g.cookies[prefix+"session"], g.headers["Authorization"] = session, "Bearer "+session
					}
					kind, body := "", ""
					if r.Method == http.MethodPost && !strings.HasPrefix(r.Path, "/v1/") {
						kind, body = formType, g.form()
					}
					look(g.do(r.Method, path, kind, body), r.Method+" "+path)
				}
			}
			g := newGuest(t, p)
			for path, a := range map[string]sut.Answer{
				"nothing": g.get("/nothing"), "nothing of the API": g.get("/v1/nothing"), "a wrong method": g.do("PUT", "/account", "", ""),
				"a wrong method of the API": g.do("PATCH", "/v1/sign-ins", "", ""), "OPTIONS": g.do("OPTIONS", "/v1/sign-ins", "", ""), "TRACE": g.do("TRACE", "/", "", ""),
				"no JSON": g.do("POST", "/v1/sign-ins", "application/json", "{"), "a form without a token": g.do("POST", "/sign-in", formType, "email=x"),
				"too large": g.do("POST", "/sign-in", formType, strings.Repeat("a", 20<<10)), "a wrong password": g.post("/sign-in", "email", ada, "password", "x"),
				"up": g.get("/static/..%2f..%2fetc%2fpasswd"), "a file that is none": g.get("/static/none.js"), "a long address": g.get("/" + strings.Repeat("a", 8000)),
			} {
				look(a, path)
			}
			// Refused before it is read to its end: the answer may be lost with the connection, so it is asked for again.
			for range 10 {
				if a, err := p.Try(t.Context(), "GET", "/?"+strings.Repeat("a", 17000), "", nil); err == nil {
					look(a, "headers that are too large")
					break
				}
			}
			// A whole sign-in, which sets each cookie there is.
			g.signIn(ada)
			a := g.post("/sign-in/code", "code", p.Code(key))
			look(a, "the session")
			look(g.post("/sign-out"), "the end")
			if len(cookies) != 3 {
				t.Errorf("cookies: %v; want those of form, sign-in and session", cookies)
			}
		})
	}
}

// strict fails the test unless an answer tells browsers what they may do with it, which is nearly nothing.
func strict(t *testing.T, a sut.Answer, path string, https bool) {
	t.Helper()
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin"} {
		if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q", path, name, got)
		}
	}
	csp := strings.Join(a.Header.Values("Content-Security-Policy"), ", ")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: the policy lacks %s: %q", path, want, csp)
		}
	}
	if strings.Contains(csp, "script-src") && strings.Contains(csp, "unsafe") || strings.ContainsAny(csp, "*") || strings.Contains(csp, "http") {
		t.Errorf("%s: the policy is %q", path, csp)
	}
	// Only what is the same for everybody, and has its content in its address, may be kept.
	keeps := a.Status == http.StatusOK && (strings.HasPrefix(a.Path, "/static/") || strings.HasPrefix(a.Path, "/brand"))
	if cache := a.Header.Get("Cache-Control"); cache != "no-store" && !keeps {
		t.Errorf("%s: Cache-Control is %q", path, cache)
	}
	if hsts := a.Header.Get("Strict-Transport-Security"); (hsts != "") != https || https && !strings.Contains(hsts, "max-age=31536000") {
		t.Errorf("%s: Strict-Transport-Security is %q", path, hsts)
	}
	for _, name := range []string{"Server", "X-Powered-By", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
		if got := a.Header.Get(name); got != "" {
			t.Errorf("%s: %s is %q", path, name, got)
		}
	}
	if a.Header.Get("X-Request-Id") == "" {
		t.Errorf("%s: it has no id", path)
	}
	body := string(a.Body)
	if strings.Contains(body, "<script>") || strings.Contains(body, " onclick=") || strings.Contains(body, " style=") || strings.Contains(body, "javascript:") {
		t.Errorf("%s: a script or a style stands in the page", path)
	}
}
