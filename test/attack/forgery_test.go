package attack

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"

	"sallyport/test/sut"
)

// front stands before a product, as a proxy does, and notes what a browser asks it and what it answers.
type front struct {
	*httptest.Server
	mu   sync.Mutex
	seen []seen
}

// seen is one request as the product got it.
type seen struct {
	method, path, origin, site, dest, kind string
	session, token                         bool // whether the victim's session came with it, and the attacker's token
	status                                 int
}

// planted is the token of forms that the attacker gives the victim's browser: a server on another port of the same host can.
var planted = strings.Repeat("A", 26)

// behindFront starts a product that people reach at the front.
func behindFront(t *testing.T) (*front, *sut.Product) {
	t.Helper()
	f := &front{}
	var to *httputil.ReverseProxy
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := seen{method: r.Method, path: r.URL.Path, origin: r.Header.Get("Origin"), site: r.Header.Get("Sec-Fetch-Site"), dest: r.Header.Get("Sec-Fetch-Dest"), kind: r.Header.Get("Content-Type")}
		if c, err := r.Cookie("sallyport_session"); err == nil {
			got.session = strings.HasPrefix(c.Value, "se_")
		}
		if c, err := r.Cookie("sallyport_form"); err == nil {
			got.token = c.Value == planted
		}
		note := &noting{ResponseWriter: w}
		to.ServeHTTP(note, r)
		if got.status = note.status; r.Context().Err() != nil {
			return // the browser went on to another page
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.seen = append(f.seen, got)
	}))
	t.Cleanup(f.Close)
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"PUBLIC_URL": f.URL})})
	base, err := url.Parse(p.Base)
	if err != nil {
		t.Fatal(err)
	}
	to = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(base); r.Out.Host = r.In.Host }, ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}}
	return f, p
}

// noting notes the status of an answer.
type noting struct {
	http.ResponseWriter
	status int
}

func (n *noting) WriteHeader(status int) { n.status = status; n.ResponseWriter.WriteHeader(status) }

// those lists what was seen so far of the requests that fit.
func (f *front) those(fit func(seen) bool) []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []seen
	for _, s := range f.seen {
		if fit(s) {
			out = append(out, s)
		}
	}
	return out
}

func (f *front) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = nil
}

// lair is the attacker's own site. On 127.0.0.1 it is the same site as the product, at another origin: cookies go with its
// requests. On localhost it is another site altogether.
func lair(t *testing.T) (sameSite, otherSite string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sallyport_form", Value: planted, Path: "/", HttpOnly: true})
		if r.URL.Query().Get("referrer") == "none" {
			w.Header().Set("Referrer-Policy", "no-referrer")
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, lairPage) // the browser may be gone
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return s.URL, "http://localhost:" + port
}

// lairPage has what attackers' pages do: forms into frames, with and without an origin to tell, requests from scripts, and
// beacons.
const lairPage = `<!doctype html><title>You have won</title><body><script>
const field = (f, n, v) => { const i = document.createElement("input"); i.type = "hidden"; i.name = n; i.value = v; f.append(i) };
function form(to, fields, target) {
	const f = document.createElement("form"); f.method = "post"; f.action = to; f.target = target;
	for (const [n, v] of Object.entries(fields)) field(f, n, v);
	document.body.append(f); f.submit();
}
function framed(to, fields) {
	const i = document.createElement("iframe"); i.name = "f" + Math.random(); document.body.append(i); form(to, fields, i.name);
}
function sandboxed(to, fields) {
	const i = document.createElement("iframe"); i.sandbox = "allow-forms allow-scripts";
	const inputs = Object.entries(fields).map(([n, v]) => '<input type=hidden name="' + n + '" value="' + v + '">').join("");
	i.srcdoc = '<form method=post action="' + to + '">' + inputs + '</form><script>document.forms[0].submit()</scr' + 'ipt>';
	document.body.append(i);
}
const body = (fields) => new URLSearchParams(fields);
const blind = (to, fields) => fetch(to, { method: "POST", mode: "no-cors", credentials: "include", body: body(fields) }).catch(() => 0);
const plain = (to, fields) => fetch(to, { method: "POST", mode: "no-cors", credentials: "include", headers: { "Content-Type": "text/plain" }, body: JSON.stringify(fields) }).catch(() => 0);
const multi = (to, fields) => { const d = new FormData(); for (const [n, v] of Object.entries(fields)) d.append(n, v); return fetch(to, { method: "POST", mode: "no-cors", credentials: "include", body: d }).catch(() => 0) };
const cors = (to, fields) => fetch(to, { method: "POST", mode: "cors", credentials: "include", headers: { "Content-Type": "application/json" }, body: JSON.stringify(fields) }).then(() => "read", () => "refused");
const beacon = (to, fields) => navigator.sendBeacon(to, body(fields));
const look = (to) => fetch(to, { mode: "cors", credentials: "include" }).then((r) => r.text()).then(() => "read", () => "refused");
function frame(kind, to) {
	const e = document.createElement(kind); e[kind === "object" ? "data" : "src"] = to; document.body.append(e);
	return e;
}
</script>`

// visited makes the browser one in which somebody is signed in at the front.
func (b *browser) visited(f *front, session string) {
	b.t.Helper()
	u := f.URL + "/"
	tell(b, network.SetCookie, network.SetCookieParams{Name: "sallyport_session", Value: session, URL: u, HTTPOnly: new(true), SameSite: network.CookieSameSiteLax})
}

// unsafePages are the routes that a form may be sent to.
func unsafePages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, r := range routeTable(t) {
		if r.Method == http.MethodPost && !strings.HasPrefix(r.Path, "/v1/") {
			out = append(out, at(r, ""))
		}
	}
	return out
}

// TestRule15FormsOfOthersChangeNothing: in Chromium, with a Master Admin signed in, pages of another site and of another
// origin of the same site send every form there is, in every way there is to send one, with a token that fits the cookie
// they have planted. Each is refused; the same form from our own page is not.
func TestRule15FormsOfOthersChangeNothing(t *testing.T) {
	t.Parallel()
	f, p := behindFront(t)
	key, session := p.EnrolTOTP(ada)
	other := p.SignInTOTP(ada, key)
	p.StepUp(session, key)
	sameSite, otherSite := lair(t)
	b := newBrowser(t)
	b.visited(f, session)
	pages := unsafePages(t)
	fields, err := json.Marshal(map[string]string{
		"csrf": planted, "email": amir, "password": sut.DemoPassword, "reason": "won", "code": "123456", "internal": "off", "organizations": "off", "version": "1",
		"confirm": "yes", "name": "Won", "session": "x", "which": "light", "remove": "1",
	})
	if err != nil {
		t.Fatal(err)
	}
	var api []string
	for _, r := range routeTable(t) {
		if r.Method == http.MethodPost && strings.HasPrefix(r.Path, "/v1/") {
			api = append(api, at(r, "AAAAAAAAAAAAAAAAAAAAAAAAAA"))
		}
	}
	posts := func(s seen) bool { return s.method == http.MethodPost }
	refused := func(what string, withCookie bool) {
		t.Helper()
		withSession := 0
		for _, s := range f.those(posts) {
			if s.session {
				withSession++
			}
			page := !strings.HasPrefix(s.path, "/v1/")
			if page && s.status != http.StatusForbidden || !page && s.status < 400 || s.site == "same-origin" {
				t.Errorf("%s: %+v", what, s)
			}
		}
		if (withSession > 0) != withCookie {
			t.Errorf("%s: the victim's cookie came with %d requests; a page of that site could send it: %t", what, withSession, withCookie)
		}
	}
	list := func(paths []string) string {
		var all []string
		for _, path := range paths {
			all = append(all, f.URL+path)
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for name, site := range map[string]string{"another origin of the site": sameSite, "another site": otherSite} {
		for _, way := range []string{"framed", "sandboxed", "blind", "plain", "multi", "beacon"} {
			for _, referrer := range []string{"", "none"} {
				if referrer == "none" && way != "framed" && way != "blind" {
					continue
				}
				what := name + ", " + way + " " + referrer
				f.forget()
				b.goToLair(site + "/?referrer=" + referrer)
				evaluate[bool](b, fmt.Sprintf(`Promise.all(%s.map(to => %s(to, %s))).then(() => true)`, list(pages), way, fields))
				b.until(what, func() bool { return len(f.those(posts)) >= len(pages) })
				refused(what, site == sameSite && way != "sandboxed")
				if way == "framed" {
					want := site
					if referrer == "none" {
						want = "null"
					}
					if got := f.those(posts)[0].origin; got != want {
						t.Errorf("%s: the browser says that it comes from %q", what, got)
					}
				}
			}
		}
		// The JSON API takes no cookie, and its own kind of body needs a leave that nobody gets.
		f.forget()
		b.goToLair(site)
		evaluate[bool](b, fmt.Sprintf(`Promise.all(%s.flatMap(to => [plain(to, %s), blind(to, %s)])).then(() => true)`, list(api), fields, fields))
		b.until(name+", the API", func() bool { return len(f.those(posts)) >= 2*len(api) })
		refused(name+", the API", site == sameSite)
		if got := evaluate[[]string](b, fmt.Sprintf(`Promise.all([...%s.map(to => cors(to, {})), ...%s.map(look)])`, list(api), list([]string{"/v1/session", "/v1/account", "/account", "/openapi.json"}))); slices.Contains(got, "read") {
			t.Errorf("%s reads an answer: %q", name, got)
		}
		for _, s := range f.those(func(s seen) bool { return s.kind == "application/json" && s.method != http.MethodOptions }) {
			t.Errorf("%s sends JSON: %+v", name, s)
		}
		// A whole page that posts itself.
		for _, path := range []string{"/sign-out", "/account/sessions/sign-out-others", "/sign-in", "/admin/settings"} {
			f.forget()
			b.goToLair(site)
			evaluate[bool](b, fmt.Sprintf(`(form(%q, %s, "_top"), true)`, f.URL+path, fields))
			b.until(name+", the whole page", func() bool { return len(f.those(posts)) == 1 })
			refused(name+", the whole page", site == sameSite)
		}
	}
	for _, s := range []string{session, other} {
		lives(t, p, s)
	}
	if now := sut.Want[sut.Settings](t, http.StatusOK, p.Do("GET", "/v1/admin/settings", session, nil)); now.Version != 1 {
		t.Errorf("the settings were changed: %+v", now)
	}
	// Links and pictures change nothing either: every page is asked for as an image, from another site.
	f.forget()
	b.goToLair(sameSite)
	var reads []string
	for _, r := range routeTable(t) {
		if r.Method == http.MethodGet && !strings.HasPrefix(r.Path, "/v1/") {
			reads = append(reads, at(r, ""))
		}
	}
	evaluate[bool](b, fmt.Sprintf(`Promise.all(%s.map(to => fetch(to, { mode: "no-cors", credentials: "include" }).catch(() => 0))).then(() => true)`, list(reads)))
	for _, s := range []string{session, other} {
		lives(t, p, s)
	}
	// Our own page: the same form, with the token that it has itself.
	b.goTo(f.URL + "/account")
	f.forget()
	if status := evaluate[int](b, `(async () => {
		const csrf = document.querySelector("[name=csrf]").value;
		return (await fetch("/account/sessions/sign-out-others", { method: "POST", body: new URLSearchParams({ csrf }) })).status
	})()`); status != http.StatusOK {
		t.Errorf("our own form: status %d; %+v", status, f.those(posts))
	}
	ended(t, p, other)
	lives(t, p, session)
}

// TestRule15NobodyFramesUs: no page of ours is shown within another's, whichever element asks for it, and whoever is
// signed in.
func TestRule15NobodyFramesUs(t *testing.T) {
	t.Parallel()
	f, p := behindFront(t)
	_, session := p.EnrolTOTP(ada)
	sameSite, otherSite := lair(t)
	b := newBrowser(t)
	b.visited(f, session)
	var pages []string
	for _, r := range routeTable(t) {
		// What is saved, or is a picture or a style sheet, shows nothing.
		if r.Method == http.MethodGet && !strings.HasPrefix(r.Path, "/v1/") && !strings.HasSuffix(r.Path, ".csv") {
			pages = append(pages, at(r, ""))
		}
	}
	pages = append(pages, "/v1/session", "/nothing", "/v1/nothing")
	for _, site := range []string{sameSite, otherSite} {
		for _, kind := range []string{"iframe", "object", "embed"} {
			asked := pages
			if kind != "iframe" {
				asked = []string{"/sign-in", "/account", "/admin"}
			}
			b.goToLair(site)
			b.mu.Lock()
			b.logged = nil // nothing comes late: each line is waited for
			b.mu.Unlock()
			// One by one, as the browser says whose page it refuses, but not which.
			for i, path := range asked {
				evaluate[bool](b, fmt.Sprintf(`(frame(%q, %q), true)`, kind, f.URL+path))
				b.until(fmt.Sprintf("%s in an %s of %s is refused", path, kind, site), func() bool { return b.lines("frame-ancestors", "'"+f.URL) > i })
				if n := b.lines("frame-ancestors"); n != i+1 {
					b.mu.Lock()
					t.Errorf("%s in an %s of %s: %d pages are refused; want %d: %q", path, kind, site, n, i+1, b.logged)
					b.mu.Unlock()
				}
			}
		}
	}
	// The attacker's own pages are shown there: the frames work.
	before := b.lines("frame-ancestors")
	if got := evaluate[string](b, fmt.Sprintf(`new Promise(done => { const e = frame("iframe", %q); e.onload = () => done(e.contentDocument.title) })`, otherSite+"/?framed")); got != "You have won" || b.lines("frame-ancestors") != before {
		t.Errorf("a frame of their own shows %q", got)
	}
}
