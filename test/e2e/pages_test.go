package e2e

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// TestPagesTOTPStory walks the pages without JavaScript: sign in, set up, come back.
func TestPagesTOTPStory(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	v := newVisitor(t, p)
	v.get("/account")
	v.at("/sign-in")
	v.post("/sign-in", form{"email": "nobody", "password": ""})
	v.says("Please enter valid email", "Please enter password")
	if v.page.status != 422 {
		t.Errorf("a form that is not filled in: status %d", v.page.status)
	}
	v.post("/sign-in", form{"email": agent, "password": "wrong"})
	if v.page.status != 401 || strings.Contains(v.page.body, "wrong\"") {
		t.Errorf("a wrong password: status %d", v.page.status)
	}
	v.signIn(agent)
	v.at("/sign-in/enroll")
	v.says("Set up")
	if strings.Contains(v.text(), "Skip for now") {
		t.Error("an internal user is offered to skip")
	}
	v.says("Need help?") // B16: on every page of the enrolment
	v.post("/sign-in/enroll/start", nil)
	v.at("/sign-in/enroll/totp")
	v.says("Need help?", "Show secret key", "date and time", "Microsoft Authenticator")
	key := strings.ReplaceAll(grouped.FindString(v.text()), " ", "")
	v.post("/sign-in/enroll/confirm", form{"code": sut.WrongCode(t, key, p.Now())})
	if v.page.status != 422 || !strings.Contains(v.page.body, "data:image/png") {
		t.Errorf("a wrong code: status %d, with the QR code: %t", v.page.status, strings.Contains(v.page.body, "data:image/png"))
	}
	v.post("/sign-in/enroll/confirm", form{"code": p.Code(key), "label": "Pixel 9"})
	v.at("/sign-in/done")
	v.says("Congratulations, that's it")
	v.get("/account")
	v.at("/account")
	v.says("Pixel 9", agent)
	for _, path := range []string{"/account", "/sign-in/enroll/totp", "/sign-in/enroll", "/sign-in/done", "/sign-in"} {
		if page := v.get(path); strings.Contains(page.body, key) || grouped.MatchString(v.text()) {
			t.Errorf("%s shows the key after it was confirmed", path)
		}
	}
	v.get("/sign-out")
	v.post("/sign-out", nil)
	v.at("/sign-in")
	v.get("/account")
	v.at("/sign-in")

	// B12, B17: later the code only, and on to the page first asked for.
	v.get("/account?from=a+link")
	if v.page.path != "/sign-in" {
		t.Fatalf("the account page is open to all: %s", v.page.path)
	}
	returnField := regexp.MustCompile(`name="return" value="([^"]*)"`).FindStringSubmatch(v.page.body)
	if returnField == nil {
		t.Fatalf("the sign-in page forgets what was asked for first")
	}
	v.post("/sign-in", form{"email": agent, "password": sut.DemoPassword, "return": strings.ReplaceAll(returnField[1], "&#43;", "+")})
	v.at("/sign-in/code")
	v.says("Your login is protected with an authenticator app")
	v.post("/sign-in/code", form{"code": p.Code(key)})
	v.at("/account")
}

// TestPagesSMSStory walks the pages of a contact.
func TestPagesSMSStory(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	v := newVisitor(t, p)
	v.signIn(clerk)
	v.at("/sign-in/enroll")
	v.says("Skip for now")
	v.post("/sign-in/enroll/start", nil)
	v.at("/sign-in/enroll/sms")
	v.post("/sign-in/enroll/phone", form{"phone": "+49 1512 3456789"})
	if v.page.status != 422 {
		t.Errorf("a number that may not be texted: status %d", v.page.status)
	}
	v.says("country")
	v.post("/sign-in/enroll/phone", form{"phone": "(701) 555-9443"})
	v.at("/sign-in/code")
	v.says("An authentication code has been sent to", "xxx-xxx-9443")
	v.post("/sign-in/code", form{"code": "1"}) // the other form's address is none of this sign-in's
	v.get("/sign-in/code")
	v.post("/sign-in/enroll/confirm", form{"code": p.LastCode(clerkPhone)})
	v.at("/sign-in") // B21
	v.get("/account")
	v.at("/sign-in")
	seen := len(p.Messages(clerkPhone))
	v.signIn(clerk)
	v.at("/sign-in/code")
	v.says("Message sent to", "xxx-xxx-9443", "Phone number incorrect or needs to be updated?", "Resend")
	v.post("/sign-in/resend", nil)
	if v.page.status != 429 {
		t.Errorf("a resend at once: status %d", v.page.status)
	}
	v.post("/sign-in/code", form{"code": p.CodeAfter(clerkPhone, seen)})
	v.at("/account")
	if strings.Contains(v.page.body, "701555") || strings.Contains(v.text(), "701 555") || strings.Contains(v.text(), "701-555") {
		t.Error("the account page shows the number")
	}

	other := newVisitor(t, p)
	other.signIn(temp)
	other.post("/sign-in/enroll/skip", nil)
	other.at("/account")
}

// TestB25AWrongNumberIsNoWayRound: whoever lost their number is told of recovery codes and of whom to ask. Nothing there,
// or anywhere that it leads to, lets them in or takes another number.
func TestB25AWrongNumberIsNoWayRound(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	p.EnrolSMS(clerk, clerkPhone)
	v := newVisitor(t, p)
	v.signIn(clerk)
	v.at("/sign-in/code")
	v.says("Phone number incorrect or needs to be updated?")
	v.get("/sign-in/help")
	v.at("/sign-in/help")
	v.says("recovery code", "support@northwind.test")
	for _, m := range regexp.MustCompile(`(?:href|action)="([^"]+)"`).FindAllStringSubmatch(v.page.body, -1) {
		switch to := m[1]; {
		case strings.HasPrefix(to, "mailto:"), strings.HasPrefix(to, "#"), strings.HasPrefix(to, "data:"),
			strings.HasPrefix(to, "/static/"), strings.HasPrefix(to, "/brand"):
		case to == "/sign-in/recover", to == "/sign-in/code", to == "/sign-in/cancel":
		default:
			t.Errorf("the page leads to %s", to)
		}
	}
	// The pages of an enrolment are not for somebody who is asked for a code.
	seen := len(p.Messages("+17015550188"))
	v.get("/sign-in/enroll/sms")
	v.at("/sign-in/code")
	v.post("/sign-in/enroll/phone", form{"phone": "+1 701 555 0188"})
	v.get("/account")
	v.at("/sign-in")
	if texts := p.Messages("+17015550188"); len(texts) != seen {
		t.Errorf("another number was texted: %d texts", len(texts)-seen)
	}
}

// TestB34EveryPageIsThePortals: its name, colours, support and help stand on every page, errors included.
func TestB34EveryPageIsThePortals(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	v := newVisitor(t, p)
	check := func(path string) {
		t.Helper()
		v.get(path)
		v.says("Northwind Portal", "support@northwind.test")
		for _, part := range []string{`<html lang="en"`, `name="viewport"`, "<main", "<h1", `href="#main"`, "/brand.css"} {
			if !strings.Contains(v.page.body, part) {
				t.Errorf("%s has no %s", path, part)
			}
		}
		// B38: nothing in the page itself that a content security policy would have to allow.
		if m := regexp.MustCompile(`(?i)<script[^>]*>[^<]|\son\w+="|\sstyle="|<style`).FindString(v.page.body); m != "" {
			t.Errorf("%s has code or style of its own: %q", path, m)
		}
		labelled(t, path, v.page.body)
		outside(t, path, v.page.body)
	}
	check("/sign-in")
	check("/nothing-here")
	if v.page.status != 404 {
		t.Errorf("an unknown page: status %d", v.page.status)
	}
	check("/docs")
	check("/sign-out")
	v.signIn(agent)
	check("/sign-in/enroll")
	check("/sign-in/enroll/totp")
	check("/sign-in/help")
	v.signIn(clerk)
	check("/sign-in/enroll/sms")
	if css := v.get("/brand.css"); !strings.Contains(strings.ToLower(css.body), "#1f5fd0") || !strings.HasPrefix(css.header.Get("Content-Type"), "text/css") {
		t.Error("/brand.css does not have the portal's colour")
	}
}

// labelled fails the test unless every field has a label.
func labelled(t *testing.T, path, body string) {
	t.Helper()
	for _, input := range regexp.MustCompile(`<(?:input|select|textarea)\b[^>]*>`).FindAllString(body, -1) {
		if strings.Contains(input, `type="hidden"`) || strings.Contains(input, "aria-label") {
			continue
		}
		id := regexp.MustCompile(`\bid="([^"]+)"`).FindStringSubmatch(input)
		if id == nil || !strings.Contains(body, `for="`+id[1]+`"`) {
			t.Errorf("%s: a field without a label: %s", path, input)
		}
	}
}

// outside fails the test if a page loads or links anything from elsewhere, other than the support address and the key
// for an authenticator app on the same device.
func outside(t *testing.T, path, body string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`(?i)\b(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		u, err := url.Parse(m[1])
		if err != nil || u.Host != "" && u.Scheme != "otpauth" || u.Scheme != "" && u.Scheme != "mailto" && u.Scheme != "data" && u.Scheme != "otpauth" {
			t.Errorf("%s leads outside: %s", path, m[0])
		}
	}
}

// TestHeadersAndCookies: what browsers need to protect people.
func TestHeadersAndCookies(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	for _, path := range []string{"/sign-in", "/", "/account", "/sign-in/code", "/nothing", "/v1/session", "/v1/nothing", "/openapi.json", "/docs", "/sign-out"} {
		a := p.Do("GET", path, "", nil)
		csp := a.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: the content security policy lacks %s: %q", path, part, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
			t.Errorf("%s: content security policy %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if a.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no X-Request-Id", path)
		}
		if s := a.Header.Get("Server"); s != "" {
			t.Errorf("%s: the server names itself: %q", path, s)
		}
	}
	// What belongs to operations is not on the public listener.
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/debug/pprof/", "/debug/vars"} {
		if a := p.Do("GET", path, "", nil); a.Status != 404 {
			t.Errorf("%s is public: status %d", path, a.Status)
		}
	}
	// Cookies: of three kinds, none readable by scripts, none for other sites.
	seen := map[string]bool{}
	key, _ := p.EnrolTOTP(agent)
	v := newVisitor(t, p)
	v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	look := func() {
		t.Helper()
		for _, line := range v.page.header.Values("Set-Cookie") {
			c, err := http.ParseSetCookie(line)
			if err != nil {
				t.Fatal(err)
			}
			seen[c.Name] = true
			if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("cookie: %s", strings.Replace(line, c.Value, "…", 1))
			}
			if c.Value != "" && (c.MaxAge != 0 || !c.Expires.IsZero()) {
				t.Errorf("cookie %s outlives the browser's session", c.Name)
			}
		}
	}
	v.get("/sign-in")
	look()
	csrf := v.csrf()
	v.post("/sign-in", form{"email": agent, "password": sut.DemoPassword, "csrf": csrf})
	look()
	v.post("/sign-in/code", form{"code": p.Code(key), "csrf": csrf})
	look()
	if len(seen) != 3 {
		t.Errorf("cookies: %v; want those of form, sign-in and session", seen)
	}
}

// TestFormsMustBeOurs: a form without its token, or from another site, changes nothing.
func TestFormsMustBeOurs(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	v := newVisitor(t, p)
	send := func(path string, change func(*http.Request, url.Values)) int {
		t.Helper()
		v.get("/sign-in")
		values := url.Values{"csrf": {v.csrf()}, "email": {temp}, "password": {sut.DemoPassword}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(req, values)
		body := values.Encode()
		req.Body, req.ContentLength = http.NoBody, 0
		if body != "" {
			r := strings.NewReader(body)
			req.Body, req.ContentLength = readCloser{r}, int64(r.Len())
		}
		return v.send(req).status
	}
	for name, change := range map[string]func(*http.Request, url.Values){
		"no token":             func(_ *http.Request, f url.Values) { f.Del("csrf") },
		"empty token":          func(_ *http.Request, f url.Values) { f.Set("csrf", "") },
		"another token":        func(_ *http.Request, f url.Values) { f.Set("csrf", "AAAAAAAAAAAAAAAAAAAAAAAAAA") },
		"token in the address": func(r *http.Request, f url.Values) { r.URL.RawQuery = "csrf=" + f.Get("csrf"); f.Del("csrf") },
		"another site":         func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a sibling site":       func(r *http.Request, _ url.Values) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"another origin":       func(r *http.Request, _ url.Values) { r.Header.Set("Origin", "https://evil.test") },
		"no origin to tell":    func(r *http.Request, _ url.Values) { r.Header.Set("Origin", "null") },
	} {
		for _, path := range []string{"/sign-in", "/sign-in/enroll/start", "/sign-in/enroll/skip", "/sign-in/enroll/phone", "/sign-in/enroll/confirm", "/sign-in/code", "/sign-in/resend", "/sign-in/recover", "/sign-in/cancel", "/account/recovery-codes", "/account/step-up/send", "/account/sessions/sign-out-others", "/account/sessions/end", "/account/factors/totp", "/account/factors/totp/confirm", "/account/factors/totp/rename", "/account/factors/totp/remove", "/account/factors/sms/enable", "/sign-out"} {
			if status := send(path, change); status != http.StatusForbidden {
				t.Errorf("%s with %s: status %d, want 403", path, name, status)
			}
		}
	}
	if status := send("/sign-in", func(r *http.Request, _ url.Values) {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", p.Base)
	}); status != http.StatusOK || v.page.path != "/sign-in/enroll" {
		t.Errorf("our own form: status %d at %s", status, v.page.path)
	}
	// The JSON API takes no cookies: there is nothing to forge.
	v.post("/sign-in/enroll/skip", nil)
	v.at("/account")
	if page := v.get("/v1/session"); page.status != http.StatusUnauthorized {
		t.Errorf("/v1/session by cookie: status %d, want 401", page.status)
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// TestRedirectsStayHere: whatever is asked for, nobody is sent to another site.
func TestRedirectsStayHere(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	for _, to := range []string{
		"https://evil.test/", "//evil.test", `/\evil.test`, `\\evil.test`, "/\t/evil.test", "/\n/evil.test", "javascript:alert(1)", "/%09/evil.test",
		"/%5cevil.test", "http:evil.test", "https:/evil.test", "///evil.test", "/.//evil.test", "/..//evil.test", "@evil.test", "/account@evil.test",
		"data:text/html,x", " //evil.test", "/\u2028/evil.test", "%2f%2fevil.test",
	} {
		v := newVisitor(t, p)
		v.get("/sign-in?return=" + url.QueryEscape(to))
		v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		v.post("/sign-in", form{"email": entra, "password": sut.DemoPassword, "return": to})
		location := v.page.header.Get("Location")
		if v.page.status != http.StatusSeeOther || location == "" {
			t.Errorf("return %q: status %d", to, v.page.status)
			continue
		}
		u, err := url.Parse(location)
		if err != nil {
			t.Errorf("return %q: location %q", to, location)
			continue
		}
		at, err := url.Parse(p.Base)
		if err != nil {
			t.Fatal(err)
		}
		if target := at.ResolveReference(u); target.Host != at.Host || target.Scheme != "http" || strings.ContainsAny(location, "\\\t\n") {
			t.Errorf("return %q leads to %q", to, location)
		}
	}
	// A Host of the caller's making does not come back in an address.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.Base+"/account", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.test"
	req.Header.Set("X-Forwarded-Host", "evil.test")
	a, err := p.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(a.Header.Get("Location")+string(a.Body), "evil.test") {
		t.Errorf("the Host header comes back: %s, Location %q", a, a.Header.Get("Location"))
	}
}
