// Package federated answers: who comes in through somebody else's sign-in, and who does not?
//
// The gateway and policy-svc run in this process on real parts; the providers are a real one (zitadel's, which is
// certified) and one of the tests' own that says whatever an attacker would.
package federated

import (
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
	"sallyport/pkg/store"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/totp-svc/totp"
)

// house is a demo portal that runs, on a clock of its own.
type house struct {
	t    *testing.T
	w    *servicetest.World
	svc  *service.Service
	base string
}

func openHouse(t *testing.T) *house {
	t.Helper()
	w := servicetest.New(t)
	h := &house{t: t, w: w, base: "http://" + freeAddr(t)}
	w.Start(contract.Policy, policy.Start, nil)
	w.Start(contract.TOTP, totp.Start, nil)
	h.svc = w.Start(contract.AuthGateway, gateway.Start, map[string]string{
		"LISTEN_ADDR": strings.TrimPrefix(h.base, "http://"), "PUBLIC_URL": h.base, "ARGON2_MEMORY_KIB": "64", "ARGON2_ITERATIONS": "1",
	})
	if err := gateway.SeedDemo(t.Context(), h.svc); err != nil {
		t.Fatal(err)
	}
	return h
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // only its number was wanted
	return l.Addr().String()
}

// office is what an operator's commands work with.
func (h *house) office() *gateway.Office {
	h.t.Helper()
	o, err := gateway.OpenOffice(h.t.Context(), h.w.DB(contract.AuthGateway), h.w.Clock, h.base)
	if err != nil {
		h.t.Fatal(err)
	}
	return o
}

// trusts makes the portal trust a provider. It must be said before the first request: gateways look again only now and then.
func (h *house) trusts(p gateway.Provider) {
	h.t.Helper()
	if _, err := h.office().SetProvider(h.t.Context(), h.w.Keys(contract.AuthGateway), gateway.DemoPortal, p, "operator:test"); err != nil {
		h.t.Fatal(err)
	}
}

// onTime sets the product's clock to the providers', which is the host's.
func (h *house) onTime() { h.w.Clock.Add(time.Since(h.w.Clock.Now())) }

// ended is how many journeys ended in a given way.
func (h *house) ended(how string) float64 {
	h.t.Helper()
	all, err := h.svc.Metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() != "sallyport_gateway_federated_sign_ins_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "outcome" && l.GetValue() == how {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	h.t.Fatalf("there is no metric of outcome %q", how)
	return 0
}

// account is what the gateway keeps of a person, as far as these tests look.
type account struct {
	ID           string `bson:"_id"`
	Portal       string `bson:"portal"`
	User         string `bson:"user"`
	Email        string `bson:"email"`
	Name         string `bson:"name"`
	Audience     string `bson:"audience"`
	MasterAdmin  bool   `bson:"master_admin"`
	Organization string `bson:"organization"`
	Federated    bool   `bson:"federated"`
	Disabled     bool   `bson:"disabled"`
	Identity     string `bson:"identity,omitempty"`
	Password     string `bson:"password,omitempty"`
}

func (h *house) users() store.Collection[account] {
	return store.Of[account](h.w.DB(contract.AuthGateway), "users")
}

// changes writes an account anew.
func (h *house) changes(id string, f func(*account)) {
	h.t.Helper()
	key := gateway.DemoPortal + "/" + id
	u, err := h.users().Get(h.t.Context(), key)
	if err != nil {
		h.t.Fatal(err)
	}
	f(&u)
	if err := h.users().Delete(h.t.Context(), key); err != nil {
		h.t.Fatal(err)
	}
	if err := h.users().Insert(h.t.Context(), u); err != nil {
		h.t.Fatal(err)
	}
}

// session is what /v1/session says.
type session struct {
	User struct {
		ID, Email, Name, Audience string
		MasterAdmin               bool `json:"master_admin"`
		Federated                 bool
	}
	AMR []string
}

// browser keeps cookies, follows redirects and sends forms.
type browser struct {
	t    *testing.T
	h    *house
	http *http.Client
	at   *url.URL
	code int
	body string
}

func (h *house) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, h: h, http: &http.Client{Jar: jar, Transport: transport}}
}

func (b *browser) open(address string) {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.h.base + address
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(req)
}

func (b *browser) post(address string, f url.Values) {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.at.Scheme + "://" + b.at.Host + address
	}
	if m := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(b.body); m != nil {
		f.Set("csrf", m[1])
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, address, strings.NewReader(f.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.send(req)
}

func (b *browser) send(req *http.Request) {
	b.t.Helper()
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.at, b.code, b.body = resp.Request.URL, resp.StatusCode, html.UnescapeString(string(raw))
}

// jump opens a page and returns where it leads, without going there.
func (b *browser) jump(address string) *url.URL {
	b.t.Helper()
	stay := *b.http
	stay.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.h.base+address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := stay.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // not read
	if resp.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("GET %s: status %d, want 303", address, resp.StatusCode)
	}
	to, err := resp.Location()
	if err != nil {
		b.t.Fatal(err)
	}
	return to
}

// on fails the test unless the browser shows this page of ours with these words.
func (b *browser) on(path string, words ...string) {
	b.t.Helper()
	if b.at.Path != path || b.at.Host != strings.TrimPrefix(b.h.base, "http://") || b.code != http.StatusOK {
		b.t.Fatalf("the browser is at %s with status %d; want %s\n%s", b.at, b.code, path, b.body)
	}
	for _, w := range words {
		if !strings.Contains(b.body, w) {
			b.t.Errorf("%s does not say %q:\n%s", path, w, b.body)
		}
	}
}

// token is the session that the browser holds; "" for none.
func (b *browser) token() string {
	home, err := url.Parse(b.h.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(home) {
		if c.Name == "sallyport_session" {
			return c.Value
		}
	}
	return ""
}

// who is signed in here; ok is false for nobody.
func (b *browser) who() (s session, ok bool) {
	b.t.Helper()
	status := b.h.call(b.t, http.MethodGet, "/v1/session", b.token(), "", &s)
	return s, status == http.StatusOK
}
