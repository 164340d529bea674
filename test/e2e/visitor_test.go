package e2e

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// visitor is a browser without JavaScript: it keeps cookies, follows redirects and sends forms.
type visitor struct {
	t    *testing.T
	base string
	http *http.Client
	page page
	// agent is what the browser says of itself, formType what it calls a form.
	agent, formType string
}

// cookieValue is what the browser keeps under a name.
func (v *visitor) cookieValue(name string) string {
	v.t.Helper()
	at, err := url.Parse(v.base)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range v.http.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// page is where a visitor is.
type page struct {
	path   string
	status int
	header http.Header
	body   string
}

type form map[string]string

func newVisitor(t *testing.T, p *sut.Product) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: t, base: p.Base, http: &http.Client{Jar: jar, Transport: transport}, formType: "application/x-www-form-urlencoded"}
}

// get opens a page.
func (v *visitor) get(path string) page {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.base+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.send(req)
}

// post sends a form with the token of the page that the visitor is on.
func (v *visitor) post(path string, f form) page {
	v.t.Helper()
	values := url.Values{"csrf": {v.csrf()}}
	for name, value := range f {
		values.Set(name, value)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.base+path, strings.NewReader(values.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Content-Type", v.formType)
	return v.send(req)
}

func (v *visitor) send(req *http.Request) page {
	v.t.Helper()
	if v.agent != "" {
		req.Header.Set("User-Agent", v.agent)
	}
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end below
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.page = page{resp.Request.URL.Path, resp.StatusCode, resp.Header, string(raw)}
	return v.page
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// csrf is the token of the forms on this page.
func (v *visitor) csrf() string {
	if m := csrfField.FindStringSubmatch(v.page.body); m != nil {
		return m[1]
	}
	return ""
}

// at fails the test unless the visitor is on this page, and it is shown.
func (v *visitor) at(path string) {
	v.t.Helper()
	if v.page.path != path || v.page.status != http.StatusOK {
		v.t.Fatalf("the visitor is at %s with status %d; want %s with 200\n%s", v.page.path, v.page.status, path, v.text())
	}
}

var tags = regexp.MustCompile(`(?s)<[^>]*>`)

// text is what the page says.
func (v *visitor) text() string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(v.page.body, " "))), " ")
}

// says fails the test unless the page has these words.
func (v *visitor) says(words ...string) {
	v.t.Helper()
	for _, w := range words {
		if !strings.Contains(v.text(), w) {
			v.t.Errorf("%s does not say %q; it says:\n%s", v.page.path, w, v.text())
		}
	}
}

// signIn gives e-mail address and password.
func (v *visitor) signIn(email string) {
	v.t.Helper()
	v.get("/sign-in")
	v.post("/sign-in", form{"email": email, "password": sut.DemoPassword})
}

// grouped is a key as a page shows it for typing.
var grouped = regexp.MustCompile(`\b(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}\b`)

// setUp enrols an authenticator on the pages, and returns its key.
func (v *visitor) setUp(p *sut.Product) string {
	v.t.Helper()
	v.at("/sign-in/enroll")
	v.post("/sign-in/enroll/start", nil)
	v.at("/sign-in/enroll/totp")
	key := strings.ReplaceAll(grouped.FindString(v.text()), " ", "")
	if key == "" {
		v.t.Fatalf("the page shows no key in groups of four:\n%s", v.text())
	}
	v.post("/sign-in/enroll/confirm", form{"code": p.Code(key), "label": "Pixel 9"})
	v.at("/sign-in/done")
	return key
}
