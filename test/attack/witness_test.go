package attack

import (
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// witness keeps every answer of the product for the hunter, and takes note of every secret that comes by: what was typed,
// and what was shown, where it may be shown.
type witness struct {
	tb   testing.TB
	h    *hunter
	n    int
	last string // the name of the last answer
}

// shownOnce are the answers of the JSON API that show a secret: the method and path, and the fields. Nothing else may.
var shownOnce = []struct {
	method string
	path   *regexp.Regexp
	fields []string
}{
	{"POST", regexp.MustCompile(`^/v1/sign-ins$`), []string{"token", "session.token", "url"}},
	{"POST", regexp.MustCompile(`^/v1/sign-ins/\w+/(enrollment/confirm|enrollment/skip|verify)$`), []string{"session.token"}},
	{"POST", regexp.MustCompile(`^/v1/sign-ins/\w+/enrollment$`), []string{"key", "otpauth_uri", "qr_png"}},
	{"POST", regexp.MustCompile(`^/v1/account/factors/totp$`), []string{"key", "otpauth_uri", "qr_png"}},
	{"POST", regexp.MustCompile(`^/v1/account/factors/totp/confirm$`), []string{"session.token"}},
	{"POST", regexp.MustCompile(`^/v1/account/recovery-codes$`), []string{"codes"}},
	{"POST", regexp.MustCompile(`^/v1/admin/users$`), []string{"password_link.url"}},
	{"POST", regexp.MustCompile(`^/v1/admin/users/\w+/password-link$`), []string{"url"}},
}

// typedFields are the fields of requests that hold a secret.
var typedFields = []string{"password", "again", "code", "recovery_code", "phone", "ticket"}

// sees takes note of a request and its answer.
func (w *witness) sees(req *http.Request, a sut.Answer) {
	w.n++
	kind := "answer"
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		kind = "page"
	}
	w.last = fmt.Sprintf("%s %d of %s %s", kind, w.n, req.Method, flat(req.URL.Path))
	var head strings.Builder
	for name, values := range a.Header {
		fmt.Fprintf(&head, "%s: %s\n", name, strings.Join(values, "\n"))
	}
	w.h.puts(w.last, false, head.String()+"\n"+string(a.Body))
	w.types(req, a.Status)
	for _, line := range a.Header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			w.tb.Fatal(err)
		}
		switch {
		case c.Value == "":
		case strings.HasSuffix(c.Name, "form"): // the token against forged forms stands in each of the browser's forms
			w.h.hides("the token of forms", c.Value, standsIn(w.last), standsUnder("page "))
		default:
			w.token("the cookie "+c.Name, c.Value, w.last)
		}
	}
	if kind == "page" {
		w.page(req.URL.Path, string(a.Body))
		w.doorPage(req.URL.Path, a)
	}
	var body map[string]any
	if json.Unmarshal(a.Body, &body) != nil {
		return // not the JSON of an object
	}
	for _, o := range shownOnce {
		if o.method != req.Method || !o.path.MatchString(req.URL.Path) {
			continue
		}
		for _, field := range o.fields {
			w.shown(field, body)
		}
	}
}

// Pages on which a key or recovery codes are shown.
var (
	keyPages    = regexp.MustCompile(`^/sign-in/enroll/(totp|confirm)$|^/account/factors/totp(/confirm)?$`)
	keyOnPage   = regexp.MustCompile(`\b(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}\b`)
	codesPage   = regexp.MustCompile(`^/account/recovery-codes$`)
	codesOnPage = regexp.MustCompile(`\b(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}\b`)
)

// page notes what a page shows this once.
func (w *witness) page(path, body string) {
	if key := keyOnPage.FindString(body); key != "" && keyPages.MatchString(path) {
		w.key(strings.ReplaceAll(key, " ", ""), w.last)
	}
	if codesPage.MatchString(path) {
		for _, code := range codesOnPage.FindAllString(body, -1) {
			w.recovery(code, standsIn(w.last))
		}
	}
}

// flat is a path without the token that may stand in it.
func flat(path string) string {
	for _, to := range []string{"/welcome/", doorPath} {
		if strings.HasPrefix(path, to) {
			return to + "…"
		}
	}
	return path
}

// types notes the secrets of a request.
func (w *witness) types(req *http.Request, status int) {
	if req.GetBody == nil {
		return
	}
	body, err := req.GetBody()
	if err != nil {
		w.tb.Fatal(err)
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		w.tb.Fatal(err)
	}
	values := map[string]any{}
	if json.Unmarshal(raw, &values) != nil {
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			return // neither JSON nor a form: the test says itself what is secret in it
		}
		for name := range form {
			values[name] = form.Get(name)
		}
	}
	for _, name := range typedFields {
		value, _ := values[name].(string)
		switch {
		case len(value) < fewest:
		case name == "phone":
			var shown []func(string) bool
			if strings.HasPrefix(w.last, "page ") && status == http.StatusUnprocessableEntity {
				shown = append(shown, standsIn(w.last)) // refused, it stands in the form again for who typed it
			}
			w.h.hides("a telephone number as typed", value, shown...)
			w.phone(value)
		case name == "recovery_code":
			w.recovery(value)
		case name == "code" && strings.HasSuffix(req.URL.Path, "/redeem"):
			w.h.hides("a typed code of the door", value) // no guess finds it by its hash
		case name == "ticket":
			w.h.hides("a typed ticket", value)
		case name == "code":
			w.h.hidesGuessable("a typed code", strings.TrimSpace(value))
		default:
			w.h.hidesGuessable("a typed password", value)
		}
	}
}

// shown notes what an answer shows this once.
func (w *witness) shown(field string, body map[string]any) {
	outer, inner, nested := strings.Cut(field, ".")
	value := body[outer]
	if m, ok := value.(map[string]any); nested && ok {
		value = m[inner]
	} else if nested {
		return
	}
	switch v := value.(type) {
	case []any:
		for _, c := range v {
			w.recovery(c.(string), standsIn(w.last))
		}
	case string:
		_, ticket, door := strings.Cut(v, doorPath)
		switch {
		case field == "key":
			w.key(v, w.last)
		case field == "url" && door:
			w.token("the ticket of "+w.last, ticket, w.last)
		case field == "url", field == "password_link.url":
			w.link(v, w.last)
		case field == "otpauth_uri", field == "qr_png": // the same until it is confirmed
			w.h.hides("the "+field+" of an enrolment", v, standsIn(w.last))
		default:
			w.token("the "+field+" of "+w.last, v, w.last)
		}
	}
}

// token notes a token, and the part of it that proves something. It is shown in one answer.
func (w *witness) token(what, value, where string) {
	w.h.mu.Lock()
	known := w.h.known[value] != nil
	w.h.mu.Unlock()
	if known {
		return // shown again: the hunter will say so
	}
	w.h.hides(what, value, standsIn(where))
	if i := strings.LastIndexByte(value, '_'); i >= 0 {
		w.h.hides("the secret part of "+what, value[i+1:], standsIn(where))
	}
}

// key notes an authenticator's key, shown here.
func (w *witness) key(b32, where string) {
	w.tb.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(b32)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.h.hides("an authenticator's key", b32, standsIn(where))
	w.h.hides("an authenticator's key in small letters", strings.ToLower(b32), standsIn(where))
	w.h.hides("an authenticator's key in groups", strings.TrimSpace(grouped.ReplaceAllString(b32, "$0 ")), standsIn(where))
	w.h.hides("an authenticator's key in groups with dashes", strings.Trim(grouped.ReplaceAllString(b32, "$0-"), "-"), standsIn(where))
	w.h.hides("the seed of an authenticator", string(raw), standsIn(where))
}

var grouped = regexp.MustCompile(`.{4}`)

// recovery notes a recovery code.
func (w *witness) recovery(code string, shown ...func(string) bool) {
	bare := strings.NewReplacer("-", "", " ", "").Replace(code)
	w.h.hides("a recovery code", code, shown...)
	w.h.hides("a recovery code in small letters", strings.ToLower(code), shown...)
	w.h.hides("a recovery code without dashes", bare, shown...)
	w.h.hides("a recovery code without dashes in small letters", strings.ToLower(bare), shown...)
}

// link notes a password link.
func (w *witness) link(address, where string) {
	token := address[strings.LastIndexByte(address, '/')+1:]
	ownPage := func(at string) bool { return strings.HasPrefix(at, "page ") && strings.HasSuffix(at, " /welcome/…") }
	w.h.hides("a password link", token, standsIn(where), ownPage)
	_, word, _ := strings.Cut(token, ".")
	w.h.hides("the secret part of a password link", word, standsIn(where), ownPage)
}

// phone notes a number in every usual spelling. Its last four digits may be shown.
func (w *witness) phone(written string) {
	digits := strings.Map(func(c rune) rune {
		if c < '0' || c > '9' {
			return -1
		}
		return c
	}, written)
	w.h.hidesGuessable("a telephone number", "+"+digits)
	w.h.hidesGuessable("a telephone number without plus", digits)
	if national, ok := strings.CutPrefix(digits, "1"); ok && len(national) == 10 {
		w.h.hidesGuessable("a national number", national)
		for _, form := range []string{"(%s) %s-%s", "%s-%s-%s", "%s %s %s", "%s.%s.%s", "+1 %s %s %s", "+1-%s-%s-%s", "+1 (%s) %s-%s", "tel:+1-%s-%s-%s"} {
			w.h.hides("a number as "+form, fmt.Sprintf(form, national[:3], national[3:6], national[6:]))
		}
		w.h.hides("a local number", national[3:])
		w.h.hides("a local number with a dash", national[3:6]+"-"+national[6:])
	}
}

// reader is a browser without JavaScript that shows the witness everything.
type reader struct {
	tb   testing.TB
	c    *sut.Client
	base *url.URL
	jar  http.CookieJar
	a    sut.Answer
	body string
}

func (r *reader) get(path string) { r.send(http.MethodGet, path, nil) }

var formField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// post sends a form with the token of the page that the reader is on.
func (r *reader) post(path string, form url.Values) {
	if m := formField.FindStringSubmatch(r.body); m != nil {
		form.Set("csrf", m[1])
	}
	r.send(http.MethodPost, path, strings.NewReader(form.Encode()))
}

// send follows redirects within the product.
func (r *reader) send(method, path string, form io.Reader) {
	r.tb.Helper()
	for range 5 {
		req, err := http.NewRequestWithContext(r.tb.Context(), method, r.base.String()+path, form)
		if err != nil {
			r.tb.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for _, c := range r.jar.Cookies(r.base) {
			req.AddCookie(c)
		}
		if r.a, err = r.c.Send(req); err != nil {
			r.tb.Fatal(err)
		}
		r.jar.SetCookies(r.base, (&http.Response{Header: r.a.Header}).Cookies())
		r.body = string(r.a.Body)
		to := r.a.Header.Get("Location")
		if !strings.HasPrefix(to, "/") {
			return
		}
		method, path, form = http.MethodGet, to, nil
	}
	r.tb.Fatalf("more than five redirects, the last to %s", path)
}

// at fails the test unless the reader is on this page.
func (r *reader) at(path string) {
	r.tb.Helper()
	if r.a.Path != path || r.a.Status != http.StatusOK {
		r.tb.Fatalf("the reader is at %s with status %d, want %s\n%s", r.a.Path, r.a.Status, path, r.body)
	}
}
