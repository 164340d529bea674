package gateway

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
)

// guard says who may use a route.
type guard struct {
	name string
	// session: a live session is needed. admin: of a Master Admin. stepUp: with password and code at most five
	// minutes old.
	session, admin, stepUp bool
}

// The guards. A sign-in's routes are open here and demand its token themselves, from the bucket.
var (
	open        = guard{name: "open"}
	signInsOwn  = guard{name: "token of the sign-in"}
	signedIn    = guard{name: "session", session: true}
	masterAdmin = guard{name: "Master Admin", session: true, admin: true}
	steppedUp   = guard{name: "Master Admin with step-up", session: true, admin: true, stepUp: true}
)

// routeAPI is the JSON API: every route with its guard.
func (g *gateway) routeAPI(api huma.API) {
	const signIns, session, account, admin = "Sign-ins", "Session", "Account", "Administration"
	handle(g, api, open, "POST /v1/sign-ins", 201, signIns, "Begin a sign-in", g.apiBegin)
	handle(g, api, signInsOwn, "GET /v1/sign-ins/{id}", 200, signIns, "Look at a sign-in", g.apiSignIn)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/enrollment", 201, signIns, "Start an enrolment", g.apiEnroll)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/enrollment/confirm", 200, signIns, "Confirm an enrolment", g.apiConfirm)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/enrollment/skip", 200, signIns, "Decline to enrol", g.apiSkip)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/resend", 200, signIns, "Send a new code", g.apiResend)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/verify", 200, signIns, "Verify a code", g.apiVerify)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/recover", 200, signIns, "Use a recovery code", g.apiRecover)
	handle(g, api, signedIn, "GET /v1/session", 200, session, "Who is signed in", g.apiSession)
	handle(g, api, signedIn, "DELETE /v1/session", 204, session, "Sign out", g.apiSignOut)
	handle(g, api, signedIn, "POST /v1/session/step-up", 204, session, "Step up with password and code", g.apiStepUp)
	handle(g, api, signedIn, "POST /v1/session/step-up/send", 200, session, "Text a code for a step-up", g.apiStepUpSend)
	handle(g, api, signedIn, "GET /v1/account", 200, account, "Look at your second factor", g.apiAccount)
	handle(g, api, signedIn, "POST /v1/account/recovery-codes", 200, account, "Make new recovery codes", g.apiRecoveryCodes)
	handle(g, api, masterAdmin, "GET /v1/admin/settings", 200, admin, "Read the settings", g.apiSettings)
	handle(g, api, steppedUp, "PUT /v1/admin/settings", 200, admin, "Change the settings", g.apiChangeSettings)
}

// routePages is everything for a browser: every route with its guard.
func (g *gateway) routePages(app *fiber.App) {
	page := func(who guard, method, path string, h fiber.Handler) { app.Add(method, path, g.guardPage(who, h)) }
	page(open, "GET", "/", g.pageHome)
	page(open, "GET", "/static/:name", g.pageStatic)
	page(open, "GET", "/brand.css", g.pageBrand)
	page(open, "GET", "/openapi.json", g.pageOpenAPI)
	page(open, "GET", "/docs", g.pageDocs)
	page(open, "GET", "/sign-in", g.pageSignIn)
	page(open, "POST", "/sign-in", g.postSignIn)
	page(signInsOwn, "GET", "/sign-in/enroll", g.pageEnroll)
	page(signInsOwn, "POST", "/sign-in/enroll/start", g.postEnrollStart)
	page(signInsOwn, "POST", "/sign-in/enroll/skip", g.postSkip)
	page(signInsOwn, "GET", "/sign-in/enroll/totp", g.pageTOTP)
	page(signInsOwn, "GET", "/sign-in/enroll/sms", g.pagePhone)
	page(signInsOwn, "POST", "/sign-in/enroll/phone", g.postPhone)
	page(signInsOwn, "POST", "/sign-in/enroll/confirm", g.postConfirm)
	page(signInsOwn, "GET", "/sign-in/code", g.pageCode)
	page(signInsOwn, "POST", "/sign-in/code", g.postCode)
	page(signInsOwn, "POST", "/sign-in/resend", g.postResend)
	page(signInsOwn, "GET", "/sign-in/status", g.pageStatus)
	page(signInsOwn, "GET", "/sign-in/recover", g.pageRecover)
	page(signInsOwn, "POST", "/sign-in/recover", g.postRecover)
	page(signInsOwn, "GET", "/sign-in/help", g.pageHelp)
	page(signInsOwn, "POST", "/sign-in/cancel", g.postCancel)
	page(signedIn, "GET", "/sign-in/done", g.pageDone)
	page(signedIn, "GET", "/account", g.pageAccount)
	page(signedIn, "POST", "/account/recovery-codes", g.postRecoveryCodes)
	page(signedIn, "POST", "/account/step-up/send", g.postStepUpSend)
	page(signedIn, "POST", "/account/sessions/sign-out-others", g.postSignOutOthers)
	page(open, "GET", "/sign-out", g.pageSignOut)
	page(open, "POST", "/sign-out", g.postSignOut)
}

// admit lets a bearer of a session token through a guard, or says why not.
func (g *gateway) admit(ctx context.Context, who guard, token string) (session, error) {
	if !who.session {
		return session{}, nil
	}
	s, err := g.sessions.check(ctx, token)
	if err != nil {
		return session{}, err
	}
	if who.admin && !s.Who.MasterAdmin {
		return session{}, contract.Refuse(contract.Forbidden, "Only a Master Admin of this portal may do this.")
	}
	if who.stepUp && !s.steppedUp(g.now()) {
		return session{}, errStepUp
	}
	return s, nil
}

type sessionKey struct{}

// sessionOf is the session that a guard let through.
func sessionOf(ctx context.Context) session {
	s, _ := ctx.Value(sessionKey{}).(session)
	return s
}

type bearerKey struct{}

// bearer is the token of the Authorization header.
func bearer(ctx context.Context) string {
	t, _ := ctx.Value(bearerKey{}).(string)
	return t
}

// statusesOf are the refusals that a route may answer with, for its description.
func statusesOf(who guard) []int {
	codes := []int{http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	switch {
	case who.session:
		codes = append(codes, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict)
	case who.name == signInsOwn.name:
		codes = append(codes, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusGone)
	default:
		codes = append(codes, http.StatusUnauthorized)
	}
	return codes
}
