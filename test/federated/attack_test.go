package federated

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
)

// refused fails the test unless the browser was turned back to the sign-in page in the given way, with no session.
func (b *browser) refused(name, how, says string, before float64) {
	b.t.Helper()
	if b.at.Path != "/sign-in" || b.code != http.StatusOK || b.at.Query().Get("refused") != how || !strings.Contains(b.body, says) {
		b.t.Errorf("%s: the browser is at %s; want /sign-in?refused=%s saying %q", name, b.at, how, says)
	}
	if _, in := b.who(); in {
		b.t.Errorf("%s: there is a session", name)
	}
	if got := b.h.ended(how); got != before+1 {
		b.t.Errorf("%s: %v journeys ended as %s, want %v", name, got, how, before+1)
	}
}

// Every token that says something else than it must, and every signature that is none.
func TestB09ABadTokenLetsNobodyIn(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	set := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	without := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	stranger := newHostile(t)
	const cannot, unverified, domain = "could not be checked", "has not confirmed your email", "cannot sign in this way"
	for name, a := range map[string]struct {
		bend func(map[string]any)
		sign func(map[string]any) string
		how  string
		says string
	}{
		"wrong nonce":              {set("nonce", "n"), nil, "untrusted", cannot},
		"no nonce":                 {without("nonce"), nil, "untrusted", cannot},
		"wrong audience":           {set("aud", "another"), nil, "untrusted", cannot},
		"no audience":              {without("aud"), nil, "untrusted", cannot},
		"many audiences, no party": {set("aud", []string{"portal", "another"}), nil, "untrusted", cannot},
		"another party":            {set("azp", "another"), nil, "untrusted", cannot},
		"wrong issuer":             {set("iss", stranger.URL), nil, "untrusted", cannot},
		"issuer with a slash":      {set("iss", p.URL+"/"), nil, "untrusted", cannot},
		"expired":                  {set("exp", time.Now().Add(-time.Minute).Unix()), nil, "untrusted", cannot},
		"no expiry":                {without("exp"), nil, "untrusted", cannot},
		"from the future":          {set("iat", time.Now().Add(time.Hour).Unix()), nil, "untrusted", cannot},
		"not yet":                  {set("nbf", time.Now().Add(time.Hour).Unix()), nil, "untrusted", cannot},
		"no subject":               {without("sub"), nil, "untrusted", cannot},
		"empty subject":            {set("sub", ""), nil, "untrusted", cannot},
		"alg none":                 {nil, p.unsigned, "untrusted", cannot},
		"HS256 with the secret": {nil, func(c map[string]any) string {
			return p.signed(jose.HS256, bytes.Repeat([]byte("hostile-secret--"), 2), c)
		}, "untrusted", cannot},
		"HS256 with the client id": {nil, func(c map[string]any) string {
			return p.signed(jose.HS256, bytes.Repeat([]byte("portal"), 6), c)
		}, "untrusted", cannot},
		"another's key": {nil, func(c map[string]any) string { return p.signed(jose.ES256, stranger.key, c) }, "untrusted", cannot},
		"changed after": {nil, func(c map[string]any) string {
			parts := strings.Split(p.signed(jose.ES256, p.key, c), ".")
			c["email"] = "admin@demo.test"
			raw, err := json.Marshal(c)
			if err != nil {
				t.Error(err)
			}
			parts[1] = base64.RawURLEncoding.EncodeToString(raw)
			return strings.Join(parts, ".")
		}, "untrusted", cannot},
		"no token": {nil, func(map[string]any) string { return "" }, "untrusted", cannot},
		"rubbish":  {nil, func(map[string]any) string { return "a.b.c" }, "untrusted", cannot},

		"unverified address":    {set("email_verified", false), nil, "unverified", unverified},
		"in words":              {set("email_verified", "false"), nil, "unverified", unverified},
		"not said":              {without("email_verified"), nil, "unverified", unverified},
		"no address":            {without("email"), nil, "unverified", unverified},
		"two addresses":         {set("email", "a@demo.test,b@demo.test"), nil, "unverified", unverified},
		"another domain":        {set("email", "petra@elsewhere.test"), nil, "domain", domain},
		"beneath the domain":    {set("email", "petra@x.demo.test"), nil, "domain", domain},
		"above the domain":      {set("email", "petra@test"), nil, "domain", domain},
		"ends like it":          {set("email", "petra@evildemo.test"), nil, "domain", domain},
		"begins like it":        {set("email", "petra@demo.test.evil.test"), nil, "domain", domain},
		"full width":            {set("email", "petra@\uff44emo.test"), nil, "domain", domain},
		"another script":        {set("email", "petra@d\u0435mo.test"), nil, "domain", domain},
		"ideographic full stop": {set("email", "petra@demo\u3002test"), nil, "domain", domain},

		"an account with a password":   {set("email", "admin@demo.test"), nil, "local", "signs in with its password"},
		"the same in another spelling": {set("email", "ADMIN@Demo.Test"), nil, "local", "signs in with its password"},
		"a contact of an organization": {set("email", "agent@demo.test"), nil, "local", "signs in with its password"},
	} {
		t.Run(name, func(t *testing.T) {
			h.onTime()
			p.bend, p.sign = a.bend, a.sign
			b := h.browser(t)
			before := h.ended(a.how)
			to := b.jump("/sign-in/with/hostile?return=/account")
			b.open(callback(to, p.grant(to, "mallory-"+name, "petra@demo.test")))
			b.refused(name, a.how, a.says, before)
			if b.at.Query().Get("return") != "/account" {
				t.Errorf("the page first asked for is lost: %s", b.at)
			}
		})
	}
	// A trailing dot is no address of ours, whatever a resolver makes of it.
	p.sign = nil
	b := h.browser(t)
	p.bend = set("email", "petra@demo.test.")
	to := b.jump("/sign-in/with/hostile")
	b.open(callback(to, p.grant(to, "dot", "petra@demo.test")))
	if _, in := b.who(); in {
		t.Error("a trailing dot came in")
	}
	noSecrets(t, h, p)
}

// noSecrets looks for every code and token that the provider gave into what was logged.
func noSecrets(t *testing.T, h *house, p *hostile) {
	t.Helper()
	logs := h.w.Logs.String()
	for _, token := range append(p.tokens, "hostile-secret") {
		if token != "" && token != "a.b.c" && strings.Contains(logs, token) {
			t.Errorf("the logs hold %q", token)
		}
	}
}

// The way back belongs to the browser that set out, and to one use.
func TestB09TheWayBackIsForOneBrowserOnce(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	const unknown = "took too long, or was begun in another window"
	back := func(name string, b *browser, address, how, says string) {
		t.Helper()
		before := h.ended(how)
		b.open(address)
		b.refused(name, how, says, before)
	}

	b := h.browser(t)
	to := b.jump("/sign-in/with/hostile")
	mine := callback(to, p.grant(to, "s1", "petra@demo.test"))

	back("no cookie", h.browser(t), mine, "unknown", unknown)
	other := h.browser(t)
	there := other.jump("/sign-in/with/hostile")
	back("another browser's cookie", other, mine, "unknown", unknown)
	back("a state that never was", b, "/sign-in/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAA", "unknown", unknown)
	back("no state", b, "/sign-in/callback?code=x", "unknown", unknown)

	// A code that was stolen from one browser and is given to another, with that one's own state: PKCE and nonce.
	stolen := p.grant(there, "s2", "victim@demo.test")
	thief := h.browser(t)
	own := thief.jump("/sign-in/with/hostile")
	back("an injected code", thief, callback(own, stolen), "untrusted", "could not be checked")

	// Mix-up: an answer that another issuer gives.
	mixed := h.browser(t)
	to = mixed.jump("/sign-in/with/hostile")
	back("another issuer's answer", mixed, callback(to, p.grant(to, "s3", "petra@demo.test"), "iss", "https://evil.test"), "untrusted", "could not be checked")
	to = mixed.jump("/sign-in/with/hostile")
	back("no code", mixed, callback(to, ""), "untrusted", "could not be checked")

	// Turned back at the provider.
	to = mixed.jump("/sign-in/with/hostile?return=/account")
	back("cancelled", mixed, "/sign-in/callback?error=access_denied&state="+to.Query().Get("state"), "cancelled", "was not finished")
	if mixed.at.Query().Get("return") != "/account" {
		t.Errorf("the page first asked for is lost: %s", mixed.at)
	}
	back("refused", mixed, "/sign-in/callback?error=server_error&error_description=%3Cscript%3E", "refused", "did not let you in")

	// Late.
	late := h.browser(t)
	to = late.jump("/sign-in/with/hostile")
	h.w.Clock.Add(10 * time.Minute)
	back("ten minutes later", late, callback(to, p.grant(to, "s4", "petra@demo.test")), "unknown", unknown)
	h.onTime()

	// And the honest one, once.
	b = h.browser(t)
	to = b.jump("/sign-in/with/hostile")
	mine = callback(to, p.grant(to, "s1", "petra@demo.test"), "iss", p.URL)
	kept := h.browser(t)
	home, err := url.Parse(h.base)
	if err != nil {
		t.Fatal(err)
	}
	kept.http.Jar.SetCookies(home, b.http.Jar.Cookies(home))
	// The state stands in an address; who has read it there cannot even spoil the journey.
	reader := h.browser(t)
	for _, c := range b.http.Jar.Cookies(home) {
		if start, _, ok := strings.Cut(c.Value, to.Query().Get("state")); ok {
			c.Value = start + to.Query().Get("state") + "_AAAAAAAAAAAAAAAAAAAAAAAAAA"
			reader.http.Jar.SetCookies(home, []*http.Cookie{c})
		}
	}
	if len(reader.http.Jar.Cookies(home)) != 1 {
		t.Fatal("no cookie holds the state")
	}
	back("a state that was read", reader, mine, "unknown", unknown)
	b.open(mine)
	b.on("/account", "Mallory Somebody")
	back("replayed, with the cookie", kept, mine, "unknown", unknown)
	noSecrets(t, h, p)
}

// An address changes hands; an account does not.
func TestB09AnAccountBelongsToOneSubject(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	in := func(b *browser, subject, email string) {
		t.Helper()
		h.onTime()
		to := b.jump("/sign-in/with/hostile")
		b.open(callback(to, p.grant(to, subject, email)))
	}
	first := h.browser(t)
	in(first, "s1", "petra@demo.test")
	first.on("/account")
	owner, _ := first.who()

	before, b := h.ended("other_subject"), h.browser(t)
	in(b, "s2", "petra@demo.test")
	b.refused("another subject with the address", "other_subject", "belongs to another sign-in", before)

	// Disabled: neither by the identity nor by the address.
	h.changes(owner.User.ID, func(u *account) { u.Disabled = true })
	before, b = h.ended("disabled"), h.browser(t)
	in(b, "s1", "petra@demo.test")
	b.refused("disabled", "disabled", "This account is disabled", before)
	h.changes("entra-demo", func(u *account) { u.Disabled = true })
	before, b = h.ended("disabled"), h.browser(t)
	in(b, "s9", "entra@demo.test")
	b.refused("disabled before the first arrival", "disabled", "This account is disabled", before)

	// An account that became local again is not taken over by the identity it had.
	h.changes(owner.User.ID, func(u *account) { u.Disabled, u.Federated = false, false })
	before, b = h.ended("local"), h.browser(t)
	in(b, "s1", "petra@demo.test")
	b.refused("local now", "local", "signs in with its password", before)
}

// However many arrive for the first time at once, they are one account.
func TestB09TwinsBecomeOneAccount(t *testing.T) {
	h := openHouse(t)
	p := newHostile(t)
	h.trusts(p.provider())
	const twins = 6
	ways, browsers := make([]string, twins), make([]*browser, twins)
	for i := range twins {
		browsers[i] = h.browser(t)
		to := browsers[i].jump("/sign-in/with/hostile")
		ways[i] = callback(to, p.grant(to, "twin", "twin@demo.test"))
	}
	done := make(chan int, twins)
	for _, i := range rand.Perm(twins) {
		go func() {
			defer func() { done <- i }()
			browsers[i].open(ways[i])
		}()
	}
	ids := map[string]bool{}
	for range twins {
		s, ok := browsers[<-done].who()
		if !ok {
			t.Error("a twin was not let in")
		}
		ids[s.User.ID] = true
	}
	if len(ids) != 1 {
		t.Errorf("the twins are %v", ids)
	}
	for id := range ids {
		audited(t, h, contract.AuditUserCreated, id)
	}
}

// An operator cannot set what would be unsafe.
func TestB09AProviderIsCheckedWhenItIsSet(t *testing.T) {
	h := openHouse(t)
	db, keys, office := h.w.DB(contract.AuthGateway), h.w.Keys(contract.AuthGateway), h.office()
	set := func(portal string, p gateway.Provider) error {
		_, err := office.SetProvider(t.Context(), keys, portal, p, "operator:test")
		return err
	}
	good := newHostile(t).provider()
	for name, bend := range map[string]func(*gateway.Provider){
		"clear text":    func(p *gateway.Provider) { p.Issuer = "http://login.example.com" },
		"no URL":        func(p *gateway.Provider) { p.Issuer = "microsoft" },
		"with a query":  func(p *gateway.Provider) { p.Issuer = "https://login.example.com/?x" },
		"no domain":     func(p *gateway.Provider) { p.Domains = nil },
		"any domain":    func(p *gateway.Provider) { p.Domains = []string{"*"} },
		"half a domain": func(p *gateway.Provider) { p.Domains = []string{"example"} },
		"no client":     func(p *gateway.Provider) { p.ClientID = "" },
		"no slug":       func(p *gateway.Provider) { p.ID = "Micro.Soft" },
		"no name":       func(p *gateway.Provider) { p.Name = " " },
		"no openid":     func(p *gateway.Provider) { p.Scopes = []string{"email"} },
	} {
		p := good
		if bend(&p); set(gateway.DemoPortal, p) == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := set("nowhere", good); err == nil {
		t.Error("a portal that is not there took a provider")
	}
	good.Domains = []string{"Demo.TEST", "b\u00fccher.example"}
	h.trusts(good)
	all, err := gateway.Providers(t.Context(), db, gateway.DemoPortal)
	if err != nil || len(all) != 1 || strings.Join(all[0].Domains, " ") != "demo.test xn--bcher-kva.example" || !all[0].ClientSecret.Empty() {
		t.Errorf("the portal has %+v, %v", all, err)
	}
	if _, err := office.RemoveProvider(t.Context(), gateway.DemoPortal, good.ID, "operator:test"); err != nil {
		t.Error(err)
	}
	if _, err := office.RemoveProvider(t.Context(), gateway.DemoPortal, good.ID, "operator:test"); err == nil {
		t.Error("a provider was removed twice")
	}
}
