package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"golang.org/x/text/unicode/norm"
)

// FuzzStrictJSON holds the reading of bodies against the rule in other words: valid UTF-8, one value, no name twice.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{"email":"a@b.test","password":"x"}`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":1,"\u0061":2}`, `[{"a":1},{"a":1}]`, `{"a":"` + "\xff" + `"}`, `{"a":"\ud800"}`,
		`{} {}`, `{}x`, ``, `null`, `1e999`, `{"a":1,}`, "\ufeff{}", `{"A":1,"a":2}`, `{"":1,"":2}`, strings.Repeat("[", 200), `{"a":1/**/}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if unmarshalStrict(data, &v) != nil {
			if v != nil {
				t.Errorf("%q is refused, and read as %v", data, v)
			}
			return
		}
		if !utf8.Valid(data) {
			t.Errorf("%q is taken, and is no UTF-8", data)
		}
		if twice, ok := nameTwice(data); !ok || twice != "" {
			t.Errorf("%q is taken; the name %q stands twice in it (readable: %t)", data, twice, ok)
		}
	})
}

// nameTwice finds a name that stands twice in one object; ok is false for what is not one JSON value.
func nameTwice(data []byte) (name string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value func() bool
	value = func() bool {
		t, err := d.Token()
		if err != nil {
			return false
		}
		switch t {
		case json.Delim('{'):
			seen := make(map[string]bool)
			for d.More() {
				k, err := d.Token()
				if err != nil {
					return false
				}
				if seen[k.(string)] && name == "" {
					name = k.(string)
				}
				seen[k.(string)] = true
				if !value() {
					return false
				}
			}
			_, err = d.Token()
			return err == nil
		case json.Delim('['):
			for d.More() {
				if !value() {
					return false
				}
			}
			_, err = d.Token()
			return err == nil
		}
		return true
	}
	ok = value()
	_, err := d.Token()
	return name, ok && err == io.EOF
}

// FuzzCaller: whatever a client writes into X-Forwarded-For, in however many lines, what our proxy saw counts; and without
// a proxy of ours nothing of it does.
func FuzzCaller(f *testing.F) {
	for _, seed := range [][2]string{
		{"198.51.100.1", ""}, {"198.51.100.1, 10.0.0.1", "x"}, {"[2001:db8::1]:443", "::ffff:1.2.3.4"}, {",,,", ","}, {"127.0.0.1", "127.0.0.1, 127.0.0.1"}, {"fe80::1%eth0", "unknown"}, {"1.2.3.4:99999", "[1.2.3.4"},
	} {
		f.Add(seed[0], seed[1], byte(7))
	}
	app := fiber.New()
	trusted := trustedNetworks([]string{"127.0.0.0/8", "10.0.0.7"})
	f.Fuzz(func(t *testing.T, first, second string, last byte) {
		if strings.ContainsAny(first+second, "\r\n\x00") {
			return // no header
		}
		client := netip.AddrFrom4([4]byte{203, 0, 113, last})
		call := func(from string, lines ...string) netip.Addr {
			var request fasthttp.RequestCtx
			for _, line := range lines {
				request.Request.Header.Add(fiber.HeaderXForwardedFor, line)
			}
			request.SetRemoteAddr(&net.TCPAddr{IP: net.ParseIP(from), Port: 1})
			c := app.AcquireCtx(&request)
			defer app.ReleaseCtx(c)
			return callerOf(c, trusted).address
		}
		for _, lines := range [][]string{{first + "," + second + ", " + client.String()}, {first, second, client.String()}, {first, second + "," + client.String(), "10.0.0.7"}} {
			if got := call("127.0.0.1", lines...); got != client {
				t.Errorf("%q is from %s, want %s", lines, got, client)
			}
		}
		stranger := netip.MustParseAddr("192.0.2.9")
		if got := call(stranger.String(), first, second); got != stranger {
			t.Errorf("without a proxy of ours, %q is from %s", []string{first, second}, got)
		}
		if got := call("127.0.0.1", first, second); !got.IsValid() || got.Is4In6() || networkOf(got) == "" {
			t.Errorf("%q is from %s", []string{first, second}, got)
		} else if p := netip.MustParsePrefix(networkOf(got)); networkOf(p.Addr()) != p.String() || !p.Contains(got.WithZone("")) {
			t.Errorf("the network of %s is %s, and that of it %s", got, p, networkOf(p.Addr()))
		}
	})
}

// FuzzTokens: a token that is taken is of one kind, fit for a bucket's key, and written as it was read.
func FuzzTokens(f *testing.F) {
	for _, kind := range []tokenKind{signInToken, sessionToken, journeyToken} {
		_, token, _ := newToken(kind)
		f.Add(token.Reveal())
		f.Add(token.Reveal() + "_x")
		f.Add(strings.ToLower(token.Reveal()))
	}
	for _, seed := range []string{"", "si_", "si__", "se_../_..", "si_ABC_DEF", "U1.ABCDEFGHIJKLMNOPQRSTUVWXYZ", "a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		kinds := 0
		for _, kind := range []tokenKind{signInToken, sessionToken, journeyToken} {
			id, word, ok := parseToken(kind, token)
			if !ok {
				continue
			}
			kinds++
			if string(kind)+"_"+id+"_"+word != token || strings.Trim(id+word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
				t.Errorf("%q is read as %q, %q", token, id, word)
			}
		}
		if kinds > 1 {
			t.Errorf("%q is of %d kinds", token, kinds)
		}
		if user, word, ok := parseLink(token); ok && (user+"."+word != token || url.PathEscape(user+"."+word) != token || strings.ContainsAny(user, "/$.")) {
			t.Errorf("the link %q is read as %q, %q", token, user, word)
		}
	})
}

// FuzzEmail: an address has one form, which is its own, and is fit for an _id; letter case and compatibility variants
// make no second account.
func FuzzEmail(f *testing.F) {
	for _, seed := range []string{
		"a@b.test", " A@B.Test ", "ａｇｅｎｔ@demo.test", "İ@demo.test", "ﬁ@x.test", "K@x.test", "\"a b\"@x.test", "a@b@c.test", "<a@b.test>", "A <a@b.test>", "a/b@c.test", "a@b.test\x00",
		strings.Repeat("ﷺ", 80) + "@x.test", "ß@x.test", "ς@x.test", "a@[127.0.0.1]", "é@x.test", "e\u0301@x.test", "a@b.test,c@d.test", "ǰ@x.test", "J\u030c@x.test", "H\u0331T\u0308@x.test", "ᾳ@x.test",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		address, ok := canonicalEmail(typed)
		if !ok {
			if other, ok := canonicalEmail(norm.NFC.String(typed)); ok && len(typed) <= 254 && utf8.ValidString(typed) {
				t.Errorf("%q is no address, and composed it is %q", typed, other)
			}
			return
		}
		if again, ok := canonicalEmail(address); !ok || again != address {
			t.Errorf("%q is read as %q, and that as %q, %t", typed, address, again, ok)
		}
		if len(address) > 254 || strings.ContainsAny(address, "/ \t\r\n\x00") || !strings.Contains(address, "@") {
			t.Errorf("%q is read as %q", typed, address)
		}
		for what, variant := range map[string]string{"in capitals": asciiUpper(typed), "decomposed": norm.NFD.String(typed), "composed": norm.NFKC.String(typed)} {
			if other, ok := canonicalEmail(variant); len(variant) <= 254 && utf8.ValidString(typed) && (!ok || other != address) {
				t.Errorf("%q is read as %q, and %s, %q, as %q, %t", typed, address, what, variant, other, ok)
			}
		}
	})
}

func asciiUpper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}

// FuzzListCursor: a cursor that is taken is one that we give.
func FuzzListCursor(f *testing.F) {
	for _, c := range []cursor{{}, {Key: "a@b.test"}, {Phase: 1, Key: "\xff"}, {Phase: 2, Key: "é"}} {
		f.Add(c.String(), 3)
	}
	f.Add("eyJrIjoiYSIsImsiOiJiIn0", 1)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, phases int) {
		c, err := parseCursor(s, phases)
		switch {
		case err != nil && c != (cursor{}):
			t.Errorf("%q is refused, and read as %+v", s, c)
		case err == nil && s != "" && (c.String() != s || c.Phase < 0 || c.Phase >= phases):
			t.Errorf("%q is read as %+v", s, c)
		}
	})
}

// FuzzBrandLink: a link that a portal may put on its pages leads a browser to a web server over https, or to a mail
// program, and nowhere else, however a browser reads it.
func FuzzBrandLink(f *testing.F) {
	for _, seed := range []string{
		"https://help.example.test/x?y#z", "mailto:help@example.test", "mailto:a@b.test?subject=x", "javascript:alert(1)", "https:evil", "https:/evil", "https:\\\\evil.test", "HTTPS://x.test",
		"https://user@x.test", "https://x.test:99999", "data:text/html,x", " https://x.test", "https://x.test\n", "//x.test", "https://[::1]/", "https://x.test\\@evil.test", "mailto:", "mailto:\"a b\"@c.test",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, to string) {
		if checkLink("support_url", to) != nil || to == "" {
			return
		}
		lower := strings.ToLower(to)
		if !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "mailto:") || strings.ContainsAny(to, "\t\r\n ") || len(to) > 500 {
			t.Errorf("%q is taken", to)
		}
		if rest, ok := strings.CutPrefix(lower, "https://"); ok {
			// Browsers take a backslash for a slash: nothing before it may name another host than we read.
			u, err := url.Parse(to)
			authority, _, _ := strings.Cut(strings.ReplaceAll(rest, "\\", "/"), "/")
			authority, _, _ = strings.Cut(authority, "?")
			authority, _, _ = strings.Cut(authority, "#")
			if err != nil || strings.Contains(authority, "@") || strings.ToLower(u.Host) != authority && !strings.Contains(authority, "%") {
				t.Errorf("%q is taken; the host is %q", to, authority)
			}
		}
	})
}

// FuzzDomains: a provider vouches for the addresses of its own domains, in whatever letters these are written, and for no
// address that only looks like one.
func FuzzDomains(f *testing.F) {
	for _, seed := range [][2]string{
		{"example.test", "a@example.test"},
		{"EXAMPLE.test", "a@Example.Test"},
		{"bücher.test", "a@xn--bcher-kva.test"},
		{"example.test", "a@sub.example.test"},
		{"example.test", "a@example.test."},
		{"example.test", "a@exаmple.test"},
		{"example.test", "a@evil.test@example.test"},
		{"a.test", "x@ａ.test"},
		{"faß.test", "a@fass.test"},
		{"x.test", "x.test"},
		{"a..b", "a@a..b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, domain, address string) {
		own, ok := canonicalDomain(domain)
		if !ok {
			return
		}
		if again, ok := canonicalDomain(own); !ok || again != own || own != strings.ToLower(own) || strings.ContainsFunc(own, func(r rune) bool { return r >= utf8.RuneSelf || r <= ' ' }) {
			t.Errorf("%q is read as %q, and that as %q, %t", domain, own, again, ok)
		}
		p := provider{Domains: []string{own}}
		if p.vouchesFor(address) {
			at := strings.LastIndexByte(address, '@')
			if got, ok := canonicalDomain(address[at+1:]); !ok || got != own {
				t.Errorf("the provider of %q vouches for %q, of %q", own, address, got)
			}
		}
		if p.vouchesFor("a@sub."+own) || p.vouchesFor("a@x"+own) || p.vouchesFor("a@"+own+".evil.test") {
			t.Errorf("the provider of %q vouches for its neighbours", own)
		}
	})
}
