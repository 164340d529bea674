package attack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestRule16HostsOfOthersCountForNothing asks every page under a host of the attacker's, in each header that some proxy
// speaks, and has a link and a text message made under it. Wherever an address is told, it is the portal's own.
func TestRule16HostsOfOthersCountForNothing(t *testing.T) {
	t.Parallel()
	for name, proxies := range map[string]string{"nobody is trusted": "", "another machine is": "10.1.2.3", "this machine is": "127.0.0.1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"PUBLIC_URL": "https://portal.test"}
			if proxies != "" {
				env["TRUSTED_PROXIES"] = proxies
			}
			p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(env)})
			_, master := p.EnrolTOTP(ada)
			lies := []map[string]string{
				{"Host": "evil.test"},
				{"Host": "evil.test:443"},
				{"Host": "portal.test.evil.test"},
				{"Host": "portal.test@evil.test"},
				{"X-Forwarded-Host": "evil.test"},
				{"X-Forwarded-Host": "evil.test, portal.test"},
				{"X-Host": "evil.test"},
				{"X-Forwarded-Server": "evil.test"},
				{"X-HTTP-Host-Override": "evil.test"},
				{"Forwarded": "host=evil.test;proto=http"},
				{"X-Original-URL": "/evil.test"},
				{"X-Rewrite-URL": "/evil.test"},
				{"X-Forwarded-Prefix": "//evil.test"},
				{"X-Forwarded-Proto": "evil"},
				{"X-Forwarded-Scheme": "evil"},
				{"Origin": "https://evil.test"},
				{"Referer": "https://evil.test/"},
				{"Host": "evil.test", "X-Forwarded-Host": "evil.test", "Forwarded": "for=1.2.3.4;host=evil.test", "X-Forwarded-Port": "6666"},
			}
			for _, lie := range lies {
				liar := func(cookie string) *guest {
					g := newGuest(t, p)
					for h, v := range lie {
						if h == "Host" {
							g.host = v
						} else {
							g.headers[h] = v
						}
					}
					if cookie != "" {
						g.cookies["__Host-sallyport_session"] = cookie
					}
					return g
				}
				for _, path := range []string{"/", "/account", "/sign-in", "/sign-in/code", "/sign-in/callback", "/welcome/x.y", "/docs", "/openapi.json", "/brand.css", "/admin/users", "/nothing", "/v1/session", "/v1/nothing", "/sign-out"} {
					for _, cookie := range []string{"", master} {
						a := liar(cookie).get(path)
						if where := told(a); where != "" {
							t.Errorf("%v, %s: %s", lie, path, where)
						}
						if a.Status >= 500 {
							t.Errorf("%v, %s: status %d", lie, path, a.Status)
						}
					}
				}
				if a := liar("").post("/sign-in", "email", elif, "password", sut.DemoPassword); told(a) != "" {
					t.Errorf("%v, signing in: %s", lie, told(a))
				}
				// An admin makes a link for somebody, and it leads to the portal.
				g := liar("")
				g.headers["Authorization"] = "Bearer " + master
				a := g.do("POST", "/v1/admin/users/"+amirID+"/password-link", "application/json", "{}")
				l := sut.Want[struct{ URL string }](t, http.StatusCreated, a)
				if !strings.HasPrefix(l.URL, "https://portal.test/welcome/") || told(a) != "" {
					t.Errorf("%v: the link is at %.40s…", lie, l.URL)
				}
			}
			// The line by which a telephone knows whose code it is.
			s := p.BeginSignIn(clara)
			g := newGuest(t, p)
			g.host, g.headers["X-Forwarded-Host"], g.headers["Authorization"] = "evil.test", "evil.test", "Bearer "+s.Token
			if a := g.do("POST", s.Path("/enrollment"), "application/json", `{"factor":"sms","phone":"`+claraPhone+`"}`); a.Status != http.StatusCreated {
				t.Fatal(a)
			}
			p.LastCode(claraPhone)
			if body := p.Messages(claraPhone)[0].Body; strings.Contains(body, "evil") || !strings.Contains(body, "@portal.test #") {
				t.Errorf("the text is %q", body)
			}
			// The whole address in the request's first line, and two hosts.
			for _, raw := range []string{
				"GET http://evil.test/account HTTP/1.1\r\nHost: portal.test\r\n\r\n", "GET https://evil.test//evil.test HTTP/1.1\r\nHost: evil.test\r\n\r\n",
				"GET //evil.test/account HTTP/1.1\r\nHost: portal.test\r\n\r\n", "GET /account HTTP/1.1\r\nHost: portal.test\r\nHost: evil.test\r\n\r\n",
				"GET /account HTTP/1.1\r\nHost: evil.test\r\nHost: portal.test\r\n\r\n", "GET evil.test/account HTTP/1.1\r\nHost: portal.test\r\n\r\n",
			} {
				_, body, _ := speak(t, p, raw, 1)
				for _, to := range asked(t, p, strings.Fields(raw)[1]) {
					body += to
				}
				if strings.Contains(body, "evil.test") && !strings.Contains(body, "return=") {
					t.Errorf("%q: %.200s", raw, body)
				}
			}
		})
	}
}

// told says where an answer repeats the attacker's host; nothing where it does not.
func told(a sut.Answer) string {
	for name, values := range a.Header {
		if strings.Contains(fmt.Sprint(values), "evil") {
			return fmt.Sprintf("%s is %q", name, values)
		}
	}
	if i := strings.Index(string(a.Body), "evil"); i >= 0 {
		return fmt.Sprintf("the body has %q", a.Body[max(0, i-40):min(len(a.Body), i+40)])
	}
	return ""
}
