package e2e

import (
	"strings"
	"testing"

	"sallyport/services/auth-gateway/gateway"
)

// browsersOnly are the routes of pages that show or do nothing which a program would want, each with the reason.
var browsersOnly = map[string]string{
	"GET /":                               "leads to the account",
	"GET /static/:name":                   "styles and scripts",
	"GET /brand.css":                      "how pages look",
	"GET /brand/logo":                     "how pages look",
	"GET /brand/logo-dark":                "how pages look",
	"GET /openapi.json":                   "the API's own description",
	"GET /docs":                           "the same, for people",
	"GET /sign-in/with/:provider":         "a provider signs browsers in",
	"GET /sign-in/callback":               "a provider sends browsers back",
	"GET /account/step-up/with/:provider": "a provider signs browsers in",
	"GET /sign-in/door/:ticket":           "a portal that uses the API needs no way for its browsers",
	"POST /sign-in/door":                  "a portal that uses the API needs no way for its browsers",
	"GET /sign-in/back":                   "a portal that uses the API needs no way for its browsers",
	"POST /sign-in/cancel":                "forgets a cookie; a program drops its token",
	"GET /sign-in/help":                   "words",
	"POST /admin/branding/preview":        "shows a page in colours that are not saved",
	"GET /admin/branding/sample.svg":      "shows a page in colours that are not saved",
}

// deeds are the other routes of pages, each with the operations of the API that show or do the same. A form's own page
// belongs to what its form does.
var deeds = map[string]string{
	"GET /sign-in":                           "POST /v1/sign-ins",
	"POST /sign-in":                          "POST /v1/sign-ins",
	"GET /sign-in/enroll":                    "GET /v1/sign-ins/:id",
	"POST /sign-in/enroll/start":             "POST /v1/sign-ins/:id/enrollment",
	"POST /sign-in/enroll/skip":              "POST /v1/sign-ins/:id/enrollment/skip",
	"GET /sign-in/enroll/totp":               "POST /v1/sign-ins/:id/enrollment",
	"GET /sign-in/enroll/sms":                "POST /v1/sign-ins/:id/enrollment",
	"POST /sign-in/enroll/phone":             "POST /v1/sign-ins/:id/enrollment",
	"POST /sign-in/enroll/confirm":           "POST /v1/sign-ins/:id/enrollment/confirm",
	"GET /sign-in/code":                      "GET /v1/sign-ins/:id",
	"POST /sign-in/code":                     "POST /v1/sign-ins/:id/verify",
	"POST /sign-in/resend":                   "POST /v1/sign-ins/:id/resend",
	"GET /sign-in/status":                    "GET /v1/sign-ins/:id",
	"GET /sign-in/recover":                   "POST /v1/sign-ins/:id/recover",
	"POST /sign-in/recover":                  "POST /v1/sign-ins/:id/recover",
	"GET /sign-in/done":                      "GET /v1/account",
	"GET /account":                           "GET /v1/account, GET /v1/session, GET /v1/account/sessions",
	"GET /welcome/:token":                    "POST /v1/password-links",
	"POST /welcome/:token":                   "POST /v1/password-links",
	"POST /account/sessions/end":             "DELETE /v1/account/sessions/:id",
	"POST /account/sessions/sign-out-others": "DELETE /v1/account/sessions",
	"GET /account/factors/totp":              "POST /v1/account/factors/totp",
	"POST /account/factors/totp":             "POST /v1/account/factors/totp",
	"POST /account/factors/totp/confirm":     "POST /v1/account/factors/totp/confirm",
	"GET /account/factors/sms/enable":        "POST /v1/account/factors/sms/enable",
	"POST /account/factors/sms/enable":       "POST /v1/account/factors/sms/enable",
	"POST /account/factors/:factor/rename":   "PATCH /v1/account/factors/:factor",
	"GET /account/factors/:factor/remove":    "DELETE /v1/account/factors/:factor",
	"POST /account/factors/:factor/remove":   "DELETE /v1/account/factors/:factor",
	"POST /account/recovery-codes":           "POST /v1/account/recovery-codes, POST /v1/session/step-up",
	"POST /account/step-up/send":             "POST /v1/session/step-up/send",
	"GET /sign-out":                          "DELETE /v1/session",
	"POST /sign-out":                         "DELETE /v1/session",
	"GET /admin":                             "GET /v1/admin/overview",
	"GET /admin/users":                       "GET /v1/admin/users",
	"GET /admin/users/new":                   "POST /v1/admin/users",
	"POST /admin/users/new":                  "POST /v1/admin/users",
	"GET /admin/users/:id":                   "GET /v1/admin/users/:id, GET /v1/admin/users/:id/sessions, GET /v1/admin/audit, GET /v1/admin/deliveries",
	"GET /admin/users/:id/edit":              "PATCH /v1/admin/users/:id",
	"POST /admin/users/:id/edit":             "PATCH /v1/admin/users/:id",
	"GET /admin/users/:id/:ask":              "GET /v1/admin/users/:id",
	"POST /admin/users/:id/:ask": "POST /v1/admin/users/:id/reset-second-factor, POST /v1/admin/users/:id/unlock, PATCH /v1/admin/users/:id, " +
		"DELETE /v1/admin/users/:id, POST /v1/admin/users/:id/password-link, DELETE /v1/admin/users/:id/sessions",
	"GET /admin/organizations":     "GET /v1/admin/organizations",
	"GET /admin/settings":          "GET /v1/admin/settings",
	"POST /admin/settings":         "PUT /v1/admin/settings",
	"POST /admin/settings/preview": "POST /v1/admin/settings/preview",
	"GET /admin/branding":          "GET /v1/admin/branding",
	"POST /admin/branding":         "PUT /v1/admin/branding",
	"POST /admin/branding/logo":    "PUT /v1/admin/branding",
	"GET /admin/deliveries":        "GET /v1/admin/deliveries, GET /v1/admin/deliveries/traffic",
	"GET /admin/audit":             "GET /v1/admin/audit",
	"GET /admin/audit.csv":         "GET /v1/admin/audit",
}

// TestB37EveryDeedOfAPageIsAnOperation: who adds a page says by which operation of the API a program does the same, or why
// none would want to.
func TestB37EveryDeedOfAPageIsAnOperation(t *testing.T) {
	there := make(map[string]bool)
	for _, r := range gateway.Routes() {
		there[r.Method+" "+r.Path] = true
	}
	for route := range there {
		method, path, _ := strings.Cut(route, " ")
		if method == "HEAD" || strings.HasPrefix(path, "/v1/") {
			continue
		}
		_, deed := deeds[route]
		if _, none := browsersOnly[route]; deed == none {
			t.Errorf("%s: name its operations in deeds, or why there are none in browsersOnly", route)
		}
	}
	for route, operations := range deeds {
		if !there[route] {
			t.Errorf("%s is listed and is no page", route)
		}
		for op := range strings.SplitSeq(operations, ", ") {
			if !there[op] {
				t.Errorf("%s is done by %s, which is no operation of the API", route, op)
			}
		}
	}
	for route := range browsersOnly {
		if !there[route] {
			t.Errorf("%s is listed and is no page", route)
		}
	}
}
