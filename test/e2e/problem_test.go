package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// codes are the reasons of the API, as people's programs know them, each with the statuses it comes with.
var codes = map[string][]int{
	"invalid_request":     {400, 422, 405, 413, 415},
	"invalid_credentials": {401},
	"unauthenticated":     {401},
	"step_up_required":    {403},
	"forbidden":           {403},
	"not_found":           {404},
	"conflict":            {409},
	"expired":             {410},
	"invalid_code":        {422},
	"locked":              {429},
	"too_soon":            {429},
	"rate_limited":        {429},
	"unavailable":         {503},
}

// problem fails the test unless an answer is a problem document of this code, complete and well-formed.
func problem(t *testing.T, a sut.Answer, code string) {
	t.Helper()
	p := a.Problem()
	switch {
	case p.Code != code || !slices.Contains(codes[code], a.Status):
		t.Errorf("%s; want %s", a, code)
		return
	case a.Header.Get("Content-Type") != "application/problem+json":
		t.Errorf("%s: content type %q", a, a.Header.Get("Content-Type"))
	case p.Status != a.Status || p.Title != http.StatusText(a.Status) || p.Detail == "" || p.Type == "":
		t.Errorf("%s: type, title, status or detail is missing or wrong", a)
	case !strings.Contains(a.Header.Get("Cache-Control"), "no-store") || a.Header.Get("X-Content-Type-Options") != "nosniff":
		t.Errorf("%s: Cache-Control %q, X-Content-Type-Options %q", a, a.Header.Get("Cache-Control"), a.Header.Get("X-Content-Type-Options"))
	case p.RequestID == "" || p.RequestID != a.Header.Get("X-Request-Id"):
		t.Errorf("%s: request_id, and the header %q", a, a.Header.Get("X-Request-Id"))
	}
	if a.Status == 429 || a.Status == 503 {
		retryAfter(t, a, time.Hour)
	}
	if a.Status == 401 && a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s: no WWW-Authenticate", a)
	}
	if (p.AttemptsLeft != nil) != (code == "invalid_code") {
		t.Errorf("%s: attempts_left belongs to invalid_code, and there always", a)
	}
}

// TestEveryErrorCode reaches every code of the list, and the list is the whole of it.
func TestEveryErrorCode(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(admin)
	p.EnrolSMS(clerk, clerkPhone)
	p.EnrolSMS(globex, globexPhone)
	current := sut.Want[sut.Settings](t, 200, p.Do("GET", "/v1/admin/settings", session, nil))
	wrong := func(s sut.SignIn) sut.Answer {
		return p.Do("POST", s.Path("/verify"), s.Token, code(sut.WrongCode(t, key, p.Now())))
	}
	table := []struct {
		code, how string
		ask       func(t *testing.T) sut.Answer
	}{
		{"invalid_request", "a body that is no JSON", func(*testing.T) sut.Answer {
			return p.Do("POST", "/v1/sign-ins", "", sut.Raw{Type: "application/json", Body: "{"})
		}},
		{"invalid_request", "a field is missing", func(*testing.T) sut.Answer {
			return p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": admin})
		}},
		{"invalid_request", "no address", func(*testing.T) sut.Answer {
			return p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "nobody", "password": "x"})
		}},
		{"invalid_credentials", "a wrong password", func(*testing.T) sut.Answer {
			return p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": admin, "password": "x"})
		}},
		{"invalid_credentials", "nobody's address", func(*testing.T) sut.Answer {
			return p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": "nobody@demo.test", "password": "x"})
		}},
		{"unauthenticated", "no token", func(*testing.T) sut.Answer { return p.Who("") }},
		{"step_up_required", "settings without a step-up", func(*testing.T) sut.Answer {
			return p.Do("PUT", "/v1/admin/settings", session, current)
		}},
		{"forbidden", "no Master Admin", func(*testing.T) sut.Answer {
			return p.Do("GET", "/v1/admin/settings", p.SignInSMS(clerk, clerkPhone), nil)
		}},
		{"not_found", "no such address", func(*testing.T) sut.Answer { return p.Do("GET", "/v1/nothing", session, nil) }},
		{"not_found", "no such sign-in", func(t *testing.T) sut.Answer {
			s := p.BeginSignIn(admin)
			return p.Do("GET", "/v1/sign-ins/AAAAAAAAAAAAAAAAAAAAAAAAAA", s.Token, nil)
		}},
		{"conflict", "an old version of the settings", func(t *testing.T) sut.Answer {
			p.StepUp(session, key)
			old := current
			old.Version--
			return p.Do("PUT", "/v1/admin/settings", session, old)
		}},
		{"invalid_code", "a wrong code", func(*testing.T) sut.Answer { return wrong(p.BeginSignIn(admin)) }},
		{"invalid_code", "no six digits", func(*testing.T) sut.Answer {
			s := p.BeginSignIn(admin)
			return p.Do("POST", s.Path("/verify"), s.Token, code("12345"))
		}},
		{"invalid_code", "no recovery code", func(*testing.T) sut.Answer {
			s := p.BeginSignIn(admin)
			return p.Do("POST", s.Path("/recover"), s.Token, map[string]string{"recovery_code": "AAAA-AAAA-AAAA-AAAA"})
		}},
		{"locked", "five wrong codes", func(*testing.T) sut.Answer {
			s := p.BeginSignIn(admin)
			for range 5 {
				wrong(s)
			}
			return wrong(s)
		}},
		{"too_soon", "a resend at once", func(*testing.T) sut.Answer {
			s := p.BeginSignIn(globex)
			return p.Do("POST", s.Path("/resend"), s.Token, nil)
		}},
		{"rate_limited", "six texts in ten minutes", func(t *testing.T) sut.Answer {
			s := p.BeginSignIn(globex) // its first text waits for the one above
			for range 4 {
				in := look(t, p, s).ResendIn
				p.Advance(time.Duration(*in) * time.Second)
				sut.Want[sut.SignIn](t, 200, p.Do("POST", s.Path("/resend"), s.Token, nil))
			}
			return p.Do("POST", s.Path("/resend"), s.Token, nil)
		}},
		{"expired", "a sign-in after ten minutes", func(*testing.T) sut.Answer {
			s := p.BeginSignIn(admin)
			p.Advance(10*time.Minute + time.Second)
			return p.Do("POST", s.Path("/verify"), s.Token, code("123456"))
		}},
		{"unavailable", "a service that does not run", unavailable},
	}
	reached := map[string]bool{}
	for _, row := range table {
		reached[row.code] = true
		if !t.Run(row.code+", "+row.how, func(t *testing.T) { problem(t, row.ask(t), row.code) }) && t.Failed() {
			continue
		}
	}
	var described []string
	for _, c := range describedCodes(t, p) {
		if described = append(described, c); codes[c] == nil && c != "internal" { // a fault of ours has no request that reaches it
			t.Errorf("/openapi.json describes a code that is not in the list: %s", c)
		}
	}
	for c := range codes {
		if !reached[c] {
			t.Errorf("no request reaches %s", c)
		}
		if !slices.Contains(described, c) {
			t.Errorf("/openapi.json does not describe %s", c)
		}
	}
}

// describedCodes are the codes in the API's own description.
func describedCodes(t *testing.T, p *sut.Product) []string {
	t.Helper()
	type description struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Enum []any `json:"enum"`
				} `json:"properties"`
			} `json:"schemas"`
		} `json:"components"`
	}
	var out []string
	for _, c := range sut.Want[description](t, 200, p.Do("GET", "/openapi.json", "", nil)).Components.Schemas["Problem"].Properties["code"].Enum {
		if s, ok := c.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// unavailable asks a product of which one service does not run.
func unavailable(t *testing.T) sut.Answer {
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	s.Service["policy-svc"].Kill9()
	return s.Do("POST", "/v1/sign-ins", "", sut.Credentials(agent))
}

// TestRequestsThatAreNoneOfOurs: what does not fit is refused by name, and its values are not repeated.
func TestRequestsThatAreNoneOfOurs(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	const secret = "hunter2-do-not-repeat"
	s := p.BeginSignIn(agent)
	deep := strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)
	for name, c := range map[string]struct {
		method, path, kind, body string
		status                   []int
	}{
		"unknown key":            {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"` + secret + `","admin":true}`, []int{422, 400}},
		"same key twice":         {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"x","password":"` + secret + `"}`, []int{400, 422}},
		"same key, escaped":      {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"x","\u0070assword":"` + secret + `"}`, []int{400, 422}},
		"key in other case":      {"POST", "/v1/sign-ins", "application/json", `{"Email":"agent@demo.test","password":"` + secret + `"}`, []int{400, 422}},
		"wrong type":             {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":["` + secret + `"]}`, []int{400, 422}},
		"number for a word":      {"POST", "/v1/sign-ins", "application/json", `{"email":7,"password":"` + secret + `"}`, []int{400, 422}},
		"null":                   {"POST", "/v1/sign-ins", "application/json", `null`, []int{400, 422}},
		"an array":               {"POST", "/v1/sign-ins", "application/json", `[{"email":"agent@demo.test","password":"` + secret + `"}]`, []int{400, 422}},
		"two values":             {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"` + secret + `"}{}`, []int{400, 422}},
		"not UTF-8":              {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"` + "\xff" + `"}`, []int{400, 422}},
		"nothing":                {"POST", "/v1/sign-ins", "application/json", ``, []int{400, 422}},
		"deep":                   {"POST", "/v1/sign-ins", "application/json", deep, []int{400, 422}},
		"a form":                 {"POST", "/v1/sign-ins", "application/x-www-form-urlencoded", "email=agent@demo.test&password=" + secret, []int{415}},
		"plain text":             {"POST", "/v1/sign-ins", "text/plain", `{"email":"agent@demo.test","password":"` + secret + `"}`, []int{415}},
		"larger than 16 KiB":     {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"` + strings.Repeat("a", 17<<10) + `"}`, []int{413}},
		"a form over 16 KiB":     {"POST", "/sign-in", "application/x-www-form-urlencoded", "email=agent@demo.test&password=" + strings.Repeat("a", 17<<10), []int{413}},
		"a long password":        {"POST", "/v1/sign-ins", "application/json", `{"email":"agent@demo.test","password":"` + strings.Repeat("a", 4<<10) + `"}`, []int{422}},
		"a long address":         {"POST", "/v1/sign-ins", "application/json", `{"email":"` + strings.Repeat("a", 4<<10) + `@demo.test","password":"x"}`, []int{422}},
		"a long code":            {"POST", s.Path("/verify"), "application/json", `{"code":"` + strings.Repeat("1", 1000) + `"}`, []int{422}},
		"a long label":           {"POST", s.Path("/enrollment/confirm"), "application/json", `{"code":"123456","label":"` + strings.Repeat("l", 1000) + `"}`, []int{422}},
		"a factor there is none": {"POST", s.Path("/enrollment"), "application/json", `{"factor":"fax"}`, []int{422}},
		"wrong method":           {"PATCH", "/v1/sign-ins", "application/json", `{}`, []int{405}},
		"wrong method, no body":  {"GET", "/v1/sign-ins", "", "", []int{405}},
		"TRACE":                  {"TRACE", "/v1/sign-ins", "", "", []int{404, 405, 501}},
		"unknown method":         {"BREW", "/v1/sign-ins", "", "", []int{400, 404, 405, 501}},
		"unknown route":          {"GET", "/v1/sign-ins/", "", "", []int{404, 405}},
		"unknown version":        {"GET", "/v2/session", "", "", []int{404}},
		"route in other case":    {"GET", "/v1/Session", "", "", []int{404}},
	} {
		var body any
		if c.kind != "" {
			body = sut.Raw{Type: c.kind, Body: c.body}
		}
		a := p.Do(c.method, c.path, s.Token, body)
		if !slices.Contains(c.status, a.Status) {
			t.Errorf("%s: %s; want %v", name, a, c.status)
			continue
		}
		if strings.Contains(string(a.Body), secret) {
			t.Errorf("%s: the answer repeats the value: %s", name, a)
		}
		if strings.HasPrefix(c.path, "/v1/") && c.method != "BREW" {
			want := "invalid_request"
			if a.Status == 404 {
				want = "not_found"
			}
			problem(t, a, want)
		}
	}
	if a := p.Do("PATCH", "/v1/sign-ins", "", nil); a.Header.Get("Allow") == "" {
		t.Errorf("%s: 405 without Allow", a)
	}
	if strings.Contains(p.Output(), secret) {
		t.Error("the log repeats a value that was refused")
	}
	// A body has 16 KiB and not a byte more; and a form is one in whatever letters.
	for size, want := range map[int]string{16 << 10: "422", 16<<10 + 1: "413"} {
		const frame = len(`{"email":"","password":"x"}`)
		a := p.Do("POST", "/v1/sign-ins", "", sut.Raw{Type: "application/json", Body: `{"email":"` + strings.Repeat("a", size-frame) + `","password":"x"}`})
		if fmt.Sprint(a.Status) != want {
			t.Errorf("a body of %d: %d, want %s", size, a.Status, want)
		}
	}
	v := newVisitor(t, p)
	v.formType = "Application/X-WWW-Form-Urlencoded"
	v.signIn(agent)
	v.at("/sign-in/enroll")
	// JSON with its charset, or either in capitals, is JSON.
	for _, kind := range []string{"application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON", "APPLICATION/JSON; Charset=utf-8"} {
		raw, err := json.Marshal(sut.Credentials(agent))
		if err != nil {
			t.Fatal(err)
		}
		if a := p.Do("POST", "/v1/sign-ins", "", sut.Raw{Type: kind, Body: string(raw)}); a.Status != http.StatusCreated {
			t.Errorf("content type %q: %s", kind, a)
		}
	}
}

// TestUnknownAndWrongLookTheSame: the same status and body for an unknown address and a wrong password.
func TestUnknownAndWrongLookTheSame(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	ask := func(email string) sut.Answer {
		return p.Do("POST", "/v1/sign-ins", "", map[string]string{"email": email, "password": "not the password"})
	}
	shape := func(a sut.Answer) string {
		var m map[string]any
		if err := a.Decode(&m); err != nil {
			t.Fatal(err)
		}
		delete(m, "request_id")
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	known, unknown := ask(agent), ask("nobody@demo.test")
	sut.Expect(t, known, 401, "invalid_credentials")
	sut.Expect(t, unknown, 401, "invalid_credentials")
	if shape(known) != shape(unknown) {
		t.Errorf("a wrong password: %s\nan unknown address: %s", known, unknown)
	}
}
