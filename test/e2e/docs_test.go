package e2e

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sallyport/test/sut"
)

// routes is the JSON API as its users know it.
var routes = []string{
	"POST /v1/sign-ins",
	"GET /v1/sign-ins/{id}",
	"POST /v1/sign-ins/{id}/enrollment",
	"POST /v1/sign-ins/{id}/enrollment/confirm",
	"POST /v1/sign-ins/{id}/enrollment/skip",
	"POST /v1/sign-ins/{id}/resend",
	"POST /v1/sign-ins/{id}/verify",
	"POST /v1/sign-ins/{id}/recover",
	"GET /v1/session",
	"DELETE /v1/session",
	"POST /v1/session/step-up",
	"POST /v1/session/step-up/send",
	"POST /v1/sign-ins/{id}/redeem",
	"GET /v1/account",
	"POST /v1/account/factors/totp",
	"POST /v1/account/factors/totp/confirm",
	"PATCH /v1/account/factors/{factor}",
	"DELETE /v1/account/factors/{factor}",
	"POST /v1/account/factors/sms/enable",
	"GET /v1/account/sessions",
	"DELETE /v1/account/sessions",
	"DELETE /v1/account/sessions/{id}",
	"POST /v1/account/recovery-codes",
	"POST /v1/password-links",
	"GET /v1/admin/overview",
	"GET /v1/admin/settings",
	"PUT /v1/admin/settings",
}

// TestB37DescriptionIsComplete: /openapi.json is OpenAPI 3.1 and has every route, and every route that it has is there.
func TestB37DescriptionIsComplete(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	type parameter struct {
		Name string `json:"name"`
		In   string `json:"in"`
	}
	type operation struct {
		OperationID string      `json:"operationId"`
		Summary     string      `json:"summary"`
		Parameters  []parameter `json:"parameters"`
		Responses   map[string]struct {
			Content map[string]any `json:"content"`
		} `json:"responses"`
		Security []map[string][]string `json:"security"`
	}
	type description struct {
		OpenAPI string                          `json:"openapi"`
		Paths   map[string]map[string]operation `json:"paths"`
	}
	a := p.Do("GET", "/openapi.json", "", nil)
	if kind := a.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("content type %q", kind)
	}
	d := sut.Want[description](t, 200, a)
	if !regexp.MustCompile(`^3\.1\.\d+$`).MatchString(d.OpenAPI) {
		t.Errorf("openapi: %q, want 3.1", d.OpenAPI)
	}
	var described []string
	ids := map[string]bool{}
	for path, operations := range d.Paths {
		for method, op := range operations {
			route := strings.ToUpper(method) + " " + path
			described = append(described, route)
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" {
				t.Errorf("%s: operationId %q or summary %q is missing or used twice", route, op.OperationID, op.Summary)
			}
			ids[op.OperationID] = true
			for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !slices.Contains(op.Parameters, parameter{name[1], "path"}) {
					t.Errorf("%s: the parameter %s is not described", route, name[1])
				}
			}
			open := slices.ContainsFunc(op.Security, func(way map[string][]string) bool { return len(way) == 0 })
			if len(op.Security) == 0 || open != (route == "POST /v1/sign-ins" || route == "POST /v1/password-links") {
				t.Errorf("%s: who may call it is not described: %v", route, op.Security)
			}
			for status, r := range op.Responses {
				if status >= "400" && r.Content["application/problem+json"] == nil {
					t.Errorf("%s: the answer %s is not described as a problem", route, status)
				}
			}
			// What is described is there: without a token it is refused, and not unknown.
			concrete := strings.ReplaceAll(path, "{id}", "AAAAAAAAAAAAAAAAAAAAAAAAAA")
			if a := p.Do(strings.ToUpper(method), concrete, "", sut.Raw{Type: "application/json", Body: "{}"}); a.Status != 401 && a.Status != 422 {
				t.Errorf("%s without a token: %s", route, a)
			}
		}
	}
	for _, route := range routes {
		if !slices.Contains(described, route) {
			t.Errorf("%s is not described", route)
		}
	}
	for _, route := range described {
		if !strings.Contains(route, " /v1/") {
			t.Errorf("%s is described, and is none of the API", route)
		}
	}
	page := p.Do("GET", "/docs", "", nil)
	if page.Status != 200 || !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") {
		t.Errorf("/docs: %d %s", page.Status, page.Header.Get("Content-Type"))
	}
	for _, route := range routes {
		_, path, _ := strings.Cut(route, " ")
		if !strings.Contains(string(page.Body), path) {
			t.Errorf("/docs does not mention %s", path)
		}
	}
	outside(t, "/docs", string(page.Body))
	if m := regexp.MustCompile(`"(?:\$ref|url|externalDocs)"\s*:\s*"https?://[^"]*"`).FindString(string(a.Body)); m != "" {
		t.Errorf("/openapi.json leads outside: %s", m)
	}
}

// TestMetricsAreOursAndClosed: names begin with sallyport_, and no label holds what belongs to a person.
func TestMetricsAreOursAndClosed(t *testing.T) {
	t.Parallel()
	p := demo(t, nil)
	key, session := p.EnrolTOTP(agent)
	s := p.BeginSignIn(agent)
	p.Do("POST", s.Path("/verify"), s.Token, code(sut.WrongCode(t, key, p.Now())))
	p.EnrolSMS(clerk, clerkPhone)
	p.SignInSMS(clerk, clerkPhone)
	text := p.Metrics()
	sample := regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? \S+$`)
	ours := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no sample: %q", line)
			continue
		}
		if !strings.HasPrefix(m[1], "sallyport_") {
			if !strings.HasPrefix(m[1], "go_") && !strings.HasPrefix(m[1], "process_") && !strings.HasPrefix(m[1], "promhttp_") {
				t.Errorf("the name is none of ours: %s", m[1])
			}
			continue
		}
		ours[m[1]]++
		for _, secret := range []string{agent, clerk, "agent-demo", "clerk-acme", s.ID, session, clerkPhone} {
			if strings.Contains(m[2], secret) {
				t.Errorf("a label holds what belongs to a person: %s", line)
			}
		}
	}
	for _, name := range []string{"sallyport_bus_call_duration_seconds_count", "sallyport_store_operation_duration_seconds_count", "sallyport_totp_verifications_total", "sallyport_sms_verifications_total", "sallyport_policy_decisions_total"} {
		if ours[name] == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	for name, n := range ours {
		if n > 5000 { // the largest: a hundred routes, four kinds of status, ten numbers of a histogram
			t.Errorf("%s has %d series", name, n)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (sallyport_\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		if (m[2] == "counter") != strings.HasSuffix(m[1], "_total") {
			t.Errorf("%s is a %s", m[1], m[2])
		}
		if m[2] == "histogram" && m[1] != "sallyport_policy_resets_of_one_admin" && !strings.HasSuffix(m[1], "_seconds") && !strings.HasSuffix(m[1], "_bytes") {
			t.Errorf("%s is a histogram without a unit", m[1])
		}
	}
	if promtool, err := exec.LookPath("promtool"); err == nil {
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
	// A second sign-in adds no series: labels are closed sets, made beforehand.
	before := strings.Count(text, "\nsallyport_")
	p.SignInTOTP(agent, key)
	p.EnrolTOTP(second)
	if after := strings.Count(p.Metrics(), "\nsallyport_"); after > before+before/2 {
		t.Errorf("%d series became %d by two sign-ins", before, after)
	}
}
