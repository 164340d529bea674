package attack

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// The demo's people, by their first names.
const (
	ada   = "admin@demo.test"   // Master Admin
	sven  = "second@demo.test"  // Master Admin
	amir  = "agent@demo.test"   // internal
	elif  = "entra@demo.test"   // internal, federated
	olga  = "owner@acme.test"   // admin of Acme
	clara = "clerk@acme.test"   // contact of Acme
	tomas = "temp@acme.test"    // contact of Acme
	greta = "owner@globex.test" // contact of Globex
)

// Their ids.
const (
	adaID, svenID, amirID             = "admin-demo", "second-demo", "agent-demo"
	olgaID, claraID, tomasID, gretaID = "owner-acme", "clerk-acme", "temp-acme", "owner-globex"
)

// Mobile numbers; no two people share one.
const (
	olgaPhone  = "+17015559444"
	claraPhone = "+17015559443"
	gretaPhone = "+17015559445"
)

// thePassword is what people of these tests choose over their links.
const thePassword = "seven brown kettles sing"

// guest is a browser without JavaScript, that follows no redirect and whose every header can be another: what an
// attacker writes, or makes the browser of another write.
type guest struct {
	t       *testing.T
	p       *sut.Product
	cookies map[string]string
	// host and headers go with every request, where they are set.
	host    string
	headers map[string]string
}

func newGuest(t *testing.T, p *sut.Product) *guest {
	t.Helper()
	return &guest{t: t, p: p, cookies: map[string]string{}, headers: map[string]string{}}
}

// do sends a request and keeps the cookies of the answer.
func (g *guest) do(method, path, kind, body string) sut.Answer {
	g.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.p.Base+path, r)
	if err != nil {
		g.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if g.host != "" {
		req.Host = g.host
	}
	for name, value := range g.headers {
		req.Header.Set(name, value)
	}
	for name, value := range g.cookies {
		req.Header.Add("Cookie", name+"="+value)
	}
	a, err := g.p.Send(req)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, line := range a.Header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			g.t.Fatalf("%s %s: %v", method, path, err)
		}
		if g.cookies[c.Name] = c.Value; c.Value == "" {
			delete(g.cookies, c.Name)
		}
	}
	return a
}

func (g *guest) get(path string) sut.Answer {
	g.t.Helper()
	return g.do(http.MethodGet, path, "", "")
}

const formType = "application/x-www-form-urlencoded"

// post sends a form with the token that the guest holds.
func (g *guest) post(path string, fields ...string) sut.Answer {
	g.t.Helper()
	return g.do(http.MethodPost, path, formType, g.form(fields...))
}

// form is a form's body: names and values in turn, and the token.
func (g *guest) form(fields ...string) string {
	g.t.Helper()
	if g.cookie("form") == "" {
		g.get("/sign-out") // any page with a form
	}
	values := url.Values{"csrf": {g.cookie("form")}}
	for i := 0; i+1 < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return values.Encode()
}

// cookie is the value of one of the product's cookies, whatever is before its name.
func (g *guest) cookie(name string) string {
	for _, prefix := range []string{"sallyport_", "__Host-sallyport_"} {
		if v := g.cookies[prefix+name]; v != "" {
			return v
		}
	}
	return ""
}

// signIn gives address and password of one of the demo.
func (g *guest) signIn(email string) sut.Answer {
	g.t.Helper()
	return g.post("/sign-in", "email", email, "password", sut.DemoPassword)
}

// as is a browser in which a session is open.
func as(t *testing.T, p *sut.Product, session string) *guest {
	t.Helper()
	g := newGuest(t, p)
	g.cookies["sallyport_session"] = session
	return g
}

// link is the path of the link by which somebody chooses a password.
func link(t *testing.T, p *sut.Product, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil || !strings.HasPrefix(u.Path, "/welcome/") {
		t.Fatalf("%q is no link for a password: %v", at, err)
	}
	return u.Path
}

// choose sets a password over a link.
func (g *guest) choose(path string) {
	g.t.Helper()
	if a := g.post(path, "password", thePassword, "again", thePassword); a.Status != http.StatusSeeOther {
		g.t.Fatalf("choosing a password: status %d", a.Status)
	}
}

// tokenOf is the session that a sign-in ended with.
func tokenOf(t *testing.T, s sut.SignIn) string {
	t.Helper()
	if s.Status != "complete" || s.Session == nil {
		t.Fatalf("the sign-in stands at %q; want complete, with a session", s.Status)
	}
	return s.Session.Token
}

var printedLink = regexp.MustCompile(`(?m)^  (https?://\S+/welcome/\S+)$`)

// southHost is where the second portal is.
const southHost = "south.example.com"

// openSouth adds a second portal to an installation, and returns the session of its Master Admin, whose address is that
// of the first one's. They have no second factor, because there is none.
func openSouth(t *testing.T, p *sut.Product) (at *sut.Client, session string) {
	t.Helper()
	c := p.Operate(0, "portal", "create", "--id=south", "--name=South", "--url=https://"+southHost, "--internal=off", "--admin-email="+ada, "--admin-name=Sue South")
	m := printedLink.FindStringSubmatch(c.Stdout())
	if m == nil {
		t.Fatalf("no link:\n%s", c.Output())
	}
	g := newGuest(t, p)
	g.host = southHost
	sut.Eventually(t, 30e9, "the gateway sees the new portal", func() bool { return strings.Contains(string(g.get("/sign-in").Body), "South") })
	g.choose(link(t, p, m[1]))
	at = p.At(southHost)
	s := sut.Want[sut.SignIn](t, http.StatusCreated, at.Do("POST", "/v1/sign-ins", "", map[string]string{"email": ada, "password": thePassword}))
	return at, tokenOf(t, s)
}
