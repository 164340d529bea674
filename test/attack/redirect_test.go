package attack

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// elsewhere are addresses that lead away, in as many ways as browsers have been led by the nose.
var elsewhere = []string{
	"https://evil.test/", "http://evil.test", "HTTPS://EVIL.TEST", "//evil.test", "///evil.test", "////evil.test", "/////evil.test/account",
	`\\evil.test`, `/\evil.test`, `\/evil.test`, `/\/evil.test`, `//\evil.test`, `/\\evil.test`, `\evil.test`, "/\t/evil.test", "/\n/evil.test", "/\r/evil.test",
	"\t//evil.test", "\n//evil.test", " //evil.test", "\x00//evil.test", "\x0b//evil.test", "/\x00/evil.test", "/\x0c/evil.test", "//evil.test\t", "/\u2028/evil.test",
	"https:evil.test", "https:/evil.test", "https:///evil.test", `https:\\evil.test`, "https:\t//evil.test", "ht\ntps://evil.test", "http:@evil.test", "//account@evil.test",
	"//127.0.0.1@evil.test", "//127.0.0.1:80@evil.test/", "//evil.test#@127.0.0.1", `//evil.test\@127.0.0.1`, "/@evil.test", "@evil.test", "//evil.test:443\\account",
	"javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "\x01javascript:alert(1)", "javascript://%0aalert(1)", "javascript&colon;alert(1)", "vbscript:x",
	"data:text/html,<script>alert(1)</script>", "blob:http://evil.test/x", "file:///etc/passwd", "view-source:http://evil.test", "about:blank",
	"/%2f%2fevil.test", "/%2fevil.test", "/%5cevil.test", "/%5c%5cevil.test", "%2f%2fevil.test", "/%09/evil.test", "/%0d%0aLocation:%20//evil.test", "/%0d%0a/evil.test",
	"/\r\nLocation: //evil.test", "/account\r\nSet-Cookie: sallyport_session=x", "/account\nX: y", "/%250d%250a", "/.//evil.test", "/..//evil.test", "/a/..//evil.test", "/./\\evil.test",
	"/;//evil.test", "/?//evil.test", "/#//evil.test", "//evil。test", "//ｅvil.test", "/／evil.test", "／／evil.test", "/\u2215/evil.test", "/\u3000/evil.test", "//[::1]", "//%65vil.test", "//0x7f.1/", "//evil.test%00.portal",
	"//" + strings.Repeat("a", 3000) + ".test", "/" + strings.Repeat("../", 400) + "/evil.test", "/" + strings.Repeat("%2f", 900) + "evil.test", "/%zz//evil.test", "/%", "?return=//evil.test", "#//evil.test", "", ".", "..", "evil.test", "account",
}

// inside are addresses of ours; they are where people come out.
var inside = []string{"/account", "/account?a=b&c=%2F%2Fd", "/admin/users?query=x#top", "/a:b@c"}

// TestRule16RedirectsStayHere gives each door that takes an address every one that leads away. Where the browser is sent,
// Chromium says: it is always a page of ours.
func TestRule16RedirectsStayHere(t *testing.T) {
	t.Parallel()
	if len(elsewhere) < 60 {
		t.Fatalf("only %d addresses", len(elsewhere))
	}
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	_, session := p.EnrolTOTP(ada)
	open, signed := newGuest(t, p), as(t, p, session)
	doors := map[string]func(to string) []string{
		"the sign-in page, signed in": func(to string) []string {
			return locations(t, signed.get("/sign-in?return="+url.QueryEscape(to)))
		},
		"the sign-in page": func(to string) []string {
			return locations(t, open.get("/sign-in?return="+url.QueryEscape(to)))
		},
		"the sign-in's form": func(to string) []string {
			return locations(t, newGuest(t, p).post("/sign-in", "email", elif, "password", sut.DemoPassword, "return", to))
		},
		"the sign-in's form, refused": func(to string) []string {
			return locations(t, open.post("/sign-in", "email", amir, "password", "", "return", to))
		},
		"a form that is too old": func(to string) []string {
			return locations(t, open.do("POST", "/sign-in", formType, url.Values{"csrf": {"x"}, "return": {to}}.Encode()))
		},
		"the step-up's action": func(to string) []string {
			return locations(t, signed.post("/account/step-up/send", "step_up_action", to))
		},
	}
	var all, from []string
	for name, door := range doors {
		for _, to := range elsewhere {
			for _, l := range door(to) {
				all, from = append(all, l), append(from, fmt.Sprintf("%s with %.60q", name, to))
			}
		}
	}
	// The page that was asked for is one more address that comes from outside: it is remembered until the sign-in is over.
	for _, to := range elsewhere {
		if strings.ContainsAny(to, "\r\n\x00 \t\x0b\x0c") || to == "" {
			continue
		}
		for _, target := range []string{to, "/account/" + to} {
			for _, l := range asked(t, p, target) {
				all, from = append(all, l), append(from, fmt.Sprintf("asking for %.60q", to))
			}
		}
	}
	for _, to := range inside {
		if got := doors["the sign-in page, signed in"](to); !slices.Contains(got, to) {
			t.Errorf("%q leads to %q", to, got)
		}
		if got := doors["the sign-in's form"](to); !slices.Contains(got, to) {
			t.Errorf("%q leads to %q after the sign-in", to, got)
		}
	}
	// A portal may send its people here, and have them sent back: to the addresses that it has registered, to the byte.
	registered := "https://portal.example.com/after"
	p.Operate(0, "portal", "return-url", "add", "--portal=demo", registered)
	key := strings.TrimSpace(p.Operate(0, "portal", "key", "create", "--portal=demo").Stdout())
	sends := func(to string) sut.Answer {
		return p.Do("POST", "/v1/sign-ins", key, map[string]any{
			"user": map[string]string{"id": "1", "email": "dana@northwind.test", "name": "Dana", "audience": "internal"}, "return_url": to,
		})
	}
	sut.Eventually(t, 20*time.Second, "the portal's own address is taken", func() bool { return sends(registered).Status == http.StatusCreated })
	for _, to := range elsewhere {
		if a := sends(to); to != "" && a.Status != http.StatusUnprocessableEntity {
			t.Errorf("a portal has people sent back to %.80q: %s", to, a)
		}
	}
	// A provider's button and its answer, each of a journey of its own. Where the button leads is the provider, and
	// nothing of where we are to go afterwards is told there.
	echo := refuser(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	p.Operate(0, trusting(t, echo, "secret")...)
	sut.Eventually(t, 20*time.Second, "the gateway knows the provider", func() bool { return toProvider(echo, open.get("/sign-in/with/echo")) != nil })
	answered := 0
	for _, to := range elsewhere {
		g := newGuest(t, p)
		a := g.get("/sign-in/with/echo?return=" + url.QueryEscape(to))
		away := toProvider(echo, a)
		if away == nil {
			all, from = append(all, a.Header.Get("Location")), append(from, fmt.Sprintf("a provider's button with %.60q", to))
			continue
		}
		if strings.Contains(a.Header.Get("Location"), "evil") {
			t.Errorf("the provider is told %q", a.Header.Get("Location"))
		}
		answered++
		query := url.Values{"state": {away.Query().Get("state")}, "code": {"x"}, "return": {to}, "error_uri": {to}}
		for _, l := range locations(t, g.get("/sign-in/callback?"+query.Encode())) {
			if !strings.HasPrefix(l, echo+"/auth?") {
				all, from = append(all, l), append(from, fmt.Sprintf("a provider's answer with %.60q", to))
			}
		}
	}
	if answered < len(elsewhere)/2 {
		t.Errorf("only %d of %d buttons led to the provider", answered, len(elsewhere))
	}
	if len(all) < 3*len(elsewhere) {
		t.Fatalf("only %d addresses came back", len(all))
	}
	resolved := resolve(t, p.Base+"/sign-in", all)
	for i, u := range resolved {
		if u != p.Base {
			t.Errorf("%s: %.80q leads to %s", from[i], all[i], u)
		}
	}
}

// linked finds what a page would have the browser go to: links, forms, and what its form sends on.
var linked = regexp.MustCompile(`(?:href|action|src|formaction|content)="([^"]*)"|name="(?:return|step_up_action)" value="([^"]*)"`)

// locations are the addresses of an answer: where it sends the browser, and where its page would.
func locations(t *testing.T, a sut.Answer) []string {
	t.Helper()
	if a.Status >= 500 || len(a.Header.Values("Location")) > 1 || a.Header.Get("X") != "" {
		t.Errorf("%s %s: status %d, Location %q", a.Method, a.Path, a.Status, a.Header.Values("Location"))
	}
	for _, c := range a.Header.Values("Set-Cookie") {
		if strings.Contains(c, "=x;") {
			t.Errorf("%s %s: a cookie was written into the answer: %q", a.Method, a.Path, c)
		}
	}
	var out []string
	if to := a.Header.Get("Location"); to != "" {
		out = append(out, to)
		if u, err := url.Parse(to); err == nil && u.Query().Get("return") != "" {
			out = append(out, u.Query().Get("return"))
		}
	}
	for _, m := range linked.FindAllStringSubmatch(string(a.Body), -1) {
		to := unescape.Replace(m[1] + m[2])
		if strings.HasPrefix(to, "data:image/") || strings.HasPrefix(to, "mailto:") || m[1] != "" && !strings.ContainsAny(to, "/:") {
			continue
		}
		out = append(out, to)
	}
	return out
}

var unescape = strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">")

// asked is where a request for an address, as it is, sends somebody who is not signed in.
func asked(t *testing.T, p *sut.Product, target string) []string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.Base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", target); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil // it hung up on what is no request
	}
	body, _ := io.ReadAll(resp.Body) // what is cut off is looked at, too
	_ = resp.Body.Close()            // read to its end
	return locations(t, sut.Answer{Method: "GET", Path: target, Status: resp.StatusCode, Header: resp.Header, Body: body})
}

// resolve has Chromium say at which origin each address is, from a page.
func resolve(t *testing.T, page string, addresses []string) []string {
	t.Helper()
	raw, err := json.Marshal(addresses)
	if err != nil {
		t.Fatal(err)
	}
	base, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	out := evaluate[[]string](newBrowser(t), `(`+string(raw)+`).map(a => { try { return new URL(a, `+string(base)+`).origin } catch (e) { return "nowhere" } })`)
	if len(out) != len(addresses) {
		t.Fatalf("%d of %d addresses were resolved", len(out), len(addresses))
	}
	for i, o := range out {
		if o == "nowhere" { // what is no address leads to none
			out[i] = strings.TrimSuffix(page, "/sign-in")
		}
	}
	return out
}
