package gateway

import (
	"context"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
)

// guard says who may use a route.
type guard struct {
	name string
	// session: a live session is needed. admin: of a Master Admin. anyAdmin: of one, or of an organization's admin.
	// stepUp: with password and code at most five minutes old.
	session, admin, anyAdmin, stepUp bool
	// ofSignIn: the token of the sign-in is needed. key: an API key of the portal's server is; beside open or ofSignIn, it
	// does as well.
	open, ofSignIn, key bool
}

// The guards. A sign-in's routes are open here and demand its token themselves, from the bucket.
var (
	open        = guard{name: "open", open: true}
	signInsOwn  = guard{name: "token of the sign-in", ofSignIn: true}
	portalDoor  = guard{name: "open, or API key for the portal door", open: true, key: true}
	ownOrPortal = guard{name: "token of the sign-in, or API key of its portal", ofSignIn: true, key: true}
	portalOnly  = guard{name: "API key", key: true}
	signedIn    = guard{name: "session", session: true}
	anyAdmin    = guard{name: "admin of the portal or of an organization", session: true, anyAdmin: true}
	masterAdmin = guard{name: "Master Admin", session: true, admin: true}
	steppedUp   = guard{name: "Master Admin with step-up", session: true, admin: true, stepUp: true}
)

// The refusals that every route may answer with, by guard; a route adds its own.
var (
	always     = []contract.Code{contract.InvalidRequest, contract.NotFound, contract.Unavailable, contract.InternalError} // not found: at an address that is no portal's
	ofSignIn   = []contract.Code{contract.Unauthenticated, contract.NotFound, contract.Conflict, contract.Expired}
	ofCodes    = []contract.Code{contract.InvalidCode, contract.Locked}
	ofTexts    = []contract.Code{contract.TooSoon, contract.RateLimited, contract.Locked}
	ofDoor     = []contract.Code{contract.Unauthenticated, contract.Forbidden, contract.Conflict}
	ofRedeem   = []contract.Code{contract.Forbidden, contract.NotFound, contract.Conflict, contract.Expired}
	ofPassword = []contract.Code{contract.InvalidCredentials, contract.RateLimited}
)

// routeAPI is the JSON API: every route with its guard, its answer, what it is for, and its own refusals.
func (g *gateway) routeAPI(app *fiber.App, api huma.API) {
	const signIns, session, account = "Sign-ins", "Session", "Account"
	codes := func(sets ...[]contract.Code) []contract.Code { return slices.Concat(sets...) }
	handle(g, api, portalDoor, "POST /v1/sign-ins", 201, signIns, "Begin a sign-in", "Checks address and password. The status says what comes next; where policy asks for nothing more, the session is in the answer. An unknown address and a wrong password are the same refusal, and count the same: after too many, for the address or from the network, all are refused for a while.\n\nWith an API key (the portal door), for a person whose first factor the portal has checked itself: user instead of email and password, and return_url where the person's browser is to be sent to the url of the answer. An account is made at the first time, and kept in step with what the portal says.", codes(ofPassword, ofDoor), g.apiBegin)
	handle(g, api, ownOrPortal, "GET /v1/sign-ins/{id}", 200, signIns, "Look at a sign-in", "Where the sign-in stands and, for a text message, how far it is. The portal that began it may look with its API key; that is no proof of who the person is.", nil, g.apiSignIn)
	handle(g, api, portalOnly, "POST /v1/sign-ins/{id}/redeem", 200, signIns, "Redeem a sign-in", "Proves to the portal that began the sign-in who the person is: once, at most ten minutes after they completed it. Only then let them in.\n\nWhere the sign-in has a return_url, code is needed, and only the browser that completed the sign-in brings it. A wrong one spends nothing.", codes(ofRedeem), g.apiRedeem)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/enrollment", 201, signIns, "Start an enrolment", "Authenticator app: shows the secret, the same one until it is confirmed. Text message: sends a code to the number.", codes(ofTexts), g.apiEnroll)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/enrollment/confirm", 200, signIns, "Confirm an enrolment", "One right code activates the factor. After an authenticator app the sign-in is complete; after a text message the person signs in again, unless the operator has let the code be enough for this portal.", codes(ofCodes), g.apiConfirm)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/enrollment/skip", 200, signIns, "Decline to enrol", "Where can_skip says so. The skip is remembered.", codes([]contract.Code{contract.Forbidden}), g.apiSkip)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/resend", 200, signIns, "Send a new code", "The earlier code is dead. Waits grow; wrong codes stay counted.", codes(ofTexts), g.apiResend)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/verify", 200, signIns, "Verify a code", "A code succeeds once. Five wrong ones in a row close the factor for a while.", codes(ofCodes), g.apiVerify)
	handle(g, api, signInsOwn, "POST /v1/sign-ins/{id}/recover", 200, signIns, "Use a recovery code", "The code is spent, the old factor is dead, other sessions end, and the sign-in goes on with a new enrolment.", codes(ofCodes), g.apiRecover)
	handle(g, api, open, "POST /v1/password-links", 204, signIns, "Set a password", "Spends the link by which an admin or the operator lets a person set their password. It opens no session: the person signs in with the new password. Sessions and sign-ins that another password began are over.", codes([]contract.Code{contract.Expired}), g.apiSetPassword)
	// Asked for at every click of a portal: answered from memory, without the machinery of the others.
	describe[Session](g, api, signedIn, "GET /v1/session", session, "Who is signed in", "The person, how they proved who they are, and until when.")
	app.Get("/v1/session", g.answerSession)
	handle(g, api, signedIn, "DELETE /v1/session", 204, session, "Sign out", "The session is dead everywhere within milliseconds.", nil, g.apiSignOut)
	handle(g, api, signedIn, "POST /v1/session/step-up", 204, session, "Step up", "Password and code once more, both right; good for five minutes. A wrong password counts as one at a sign-in.", codes(ofPassword, ofCodes, []contract.Code{contract.StepUpRequired, contract.Forbidden, contract.NotFound, contract.Conflict, contract.Expired}), g.apiStepUp)
	handle(g, api, signedIn, "POST /v1/session/step-up/send", 200, session, "Text a code for a step-up", "For people whose codes come by text message.", codes(ofTexts, []contract.Code{contract.Forbidden, contract.NotFound, contract.Conflict}), g.apiStepUpSend)
	handle(g, api, signedIn, "GET /v1/account", 200, account, "Look at your second factor", "Profile, factors and how many recovery codes are left.", nil, g.apiAccount)
	handle(g, api, signedIn, "POST /v1/account/factors/totp", 201, account, "Set up or replace your authenticator", "Shows the secret of a new authenticator, the same one until it is confirmed; the one you have works until then. Needs a sign-in with a second factor (or, where you have none, with the password), or a step-up, at most five minutes old.", codes([]contract.Code{contract.StepUpRequired, contract.Forbidden, contract.Conflict}), g.apiBeginTOTP)
	handle(g, api, signedIn, "POST /v1/account/factors/totp/confirm", 200, account, "Confirm your new authenticator", "One right code activates it. The one before is dead, and so are your other sessions; this session goes on under the new token in the answer.", codes(ofCodes, []contract.Code{contract.Conflict, contract.Expired}), g.apiConfirmTOTP)
	handle(g, api, signedIn, "PATCH /v1/account/factors/{factor}", 204, account, "Name your device", "The name that your account page and your sign-ins show.", codes([]contract.Code{contract.NotFound}), g.apiRenameFactor)
	handle(g, api, signedIn, "DELETE /v1/account/factors/{factor}", 204, account, "Remove your second factor", "Where your portal lets you; otherwise replace it. Your other sessions end. Needs a sign-in with a second factor, or a step-up, at most five minutes old.", codes([]contract.Code{contract.StepUpRequired, contract.Forbidden, contract.NotFound}), g.apiRemoveFactor)
	handle(g, api, signedIn, "POST /v1/account/factors/sms/enable", 204, account, "Enable text messages", "For a contact who declined. The skip is forgotten, all your sessions end, this one included, and your next sign-in begins the enrolment.", codes([]contract.Code{contract.Forbidden, contract.Conflict}), g.apiEnableSMS)
	handle(g, api, signedIn, "GET /v1/account/sessions", 200, account, "List your sessions", "Where you are signed in, the newest first.", nil, g.apiOwnSessions)
	handle(g, api, signedIn, "DELETE /v1/account/sessions/{id}", 204, account, "End one of your sessions", "It is dead everywhere within milliseconds.", codes([]contract.Code{contract.NotFound}), g.apiEndOwnSession)
	handle(g, api, signedIn, "DELETE /v1/account/sessions", 204, account, "End your other sessions", "All but the one of this request.", nil, g.apiEndOtherSessions)
	handle(g, api, signedIn, "POST /v1/account/recovery-codes", 200, account, "Make new recovery codes", "Ten codes, shown this once; earlier ones are dead. Needs a sign-in with a second factor, or a step-up, at most five minutes old.", codes([]contract.Code{contract.StepUpRequired, contract.Forbidden}), g.apiRecoveryCodes)
	g.routeAdmin(app, api)
}

// routePages is everything for a browser: every route with its guard.
func (g *gateway) routePages(app *fiber.App) {
	page := func(who guard, method, path string, h fiber.Handler) {
		g.guarded(who, method, path)
		if method == fiber.MethodGet {
			app.Get(path, g.guardPage(who, h)) // and HEAD
			return
		}
		app.Add(method, path, g.guardPage(who, h))
	}
	page(open, "GET", "/", g.pageHome)
	page(open, "GET", "/static/:name", g.pageStatic)
	page(open, "GET", "/brand.css", g.pageBrand)
	page(open, "GET", "/openapi.json", g.pageOpenAPI)
	page(open, "GET", "/docs", g.pageDocs)
	page(open, "GET", "/sign-in", g.pageSignIn)
	page(open, "POST", "/sign-in", g.postSignIn)
	page(open, "GET", "/sign-in/with/:provider", g.pageWith)
	page(open, "GET", callbackPath, g.pageCallback)
	page(open, "GET", "/sign-in/door/:ticket", g.pageDoor)
	page(open, "POST", "/sign-in/door", g.postDoor)
	page(signInsOwn, "GET", "/sign-in/back", g.pageBack)
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
	page(open, "GET", "/welcome/:token", g.pageWelcome)
	page(open, "POST", "/welcome/:token", g.postWelcome)
	page(open, "GET", "/brand/logo", g.pageLogo)
	page(open, "GET", "/brand/logo-dark", g.pageLogo)
	page(signedIn, "POST", "/account/sessions/end", g.postEndSession)
	page(signedIn, "GET", totpPath, g.pageReplaceTOTP)
	page(signedIn, "POST", totpPath, g.postReplaceTOTP)
	page(signedIn, "POST", totpPath+"/confirm", g.postConfirmTOTP)
	page(signedIn, "GET", "/account/factors/sms/enable", g.pageEnableSMS)
	page(signedIn, "POST", "/account/factors/sms/enable", g.postEnableSMS)
	page(signedIn, "POST", "/account/factors/:factor/rename", g.postRenameFactor)
	page(signedIn, "GET", "/account/factors/:factor/remove", g.pageRemoveFactor)
	page(signedIn, "POST", "/account/factors/:factor/remove", g.postRemoveFactor)
	page(signedIn, "POST", "/account/recovery-codes", g.postRecoveryCodes)
	page(signedIn, "POST", "/account/step-up/send", g.postStepUpSend)
	page(signedIn, "GET", "/account/step-up/with/:provider", g.pageStepUpWith)
	page(signedIn, "POST", "/account/sessions/sign-out-others", g.postSignOutOthers)
	page(open, "GET", "/sign-out", g.pageSignOut)
	page(open, "POST", "/sign-out", g.postSignOut)
	page(anyAdmin, "GET", "/admin", g.pageOverview)
	page(anyAdmin, "GET", "/admin/users", g.pagePeople)
	page(masterAdmin, "GET", "/admin/users/new", g.pageNewPerson)
	page(masterAdmin, "POST", "/admin/users/new", g.postNewPerson)
	page(anyAdmin, "GET", "/admin/users/:id", g.pagePerson)
	page(masterAdmin, "GET", "/admin/users/:id/edit", g.pageEditPerson)
	page(masterAdmin, "POST", "/admin/users/:id/edit", g.postEditPerson)
	page(anyAdmin, "GET", "/admin/users/:id/:ask", g.pageAsk)
	page(anyAdmin, "POST", "/admin/users/:id/:ask", g.postAsk)
	page(masterAdmin, "GET", "/admin/organizations", g.pageOrganizations)
	page(masterAdmin, "GET", "/admin/settings", g.pageSettings)
	page(masterAdmin, "POST", "/admin/settings", g.postSettings)
	page(masterAdmin, "POST", "/admin/settings/preview", g.postPreview)
	page(masterAdmin, "GET", "/admin/branding", g.pageBranding)
	page(masterAdmin, "POST", "/admin/branding", g.postBranding)
	page(masterAdmin, "POST", "/admin/branding/preview", g.postBrandPreview)
	page(masterAdmin, "POST", "/admin/branding/logo", g.postLogo)
	page(masterAdmin, "GET", "/admin/branding/sample.svg", g.pageSample)
	page(masterAdmin, "GET", "/admin/deliveries", g.pageDeliveries)
	page(masterAdmin, "GET", "/admin/audit", g.pageAudit)
	page(masterAdmin, "GET", "/admin/audit.csv", g.pageAuditCSV)
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
	if err := g.ofThisPortal(ctx, s); err != nil {
		return session{}, err
	}
	if who.admin {
		if err := g.desk.master(ctx, s); err != nil {
			return session{}, err
		}
	}
	if who.anyAdmin {
		if _, err := g.desk.scopeOf(ctx, s); err != nil {
			return session{}, err
		}
	}
	if who.stepUp && !s.steppedUp(g.now()) {
		return session{}, errStepUp
	}
	return s, nil
}

// admitKey lets the bearer of an API key through a guard that takes one, and keeps in the context whose it is.
func (g *gateway) admitKey(ctx context.Context, who guard, token string) (context.Context, error) {
	if !who.key || (who.open || who.ofSignIn) && !isAPIKey(token) {
		return ctx, nil
	}
	p, err := g.portal(ctx)
	if err != nil {
		return ctx, err
	}
	k, err := g.door.key(ctx, p.ID, token)
	return context.WithValue(ctx, presentedKey{}, k), err
}

type presentedKey struct{}

// presented is the API key that a guard let through; ok is false where there is none.
func presented(ctx context.Context) (k apiKey, ok bool) {
	k, ok = ctx.Value(presentedKey{}).(apiKey)
	return k, ok
}

// ofThisPortal refuses the session of another portal: at this address it is nobody's (B36).
func (g *gateway) ofThisPortal(ctx context.Context, s session) error {
	if byHost := *g.portals.Load(); len(byHost) == 1 {
		for _, p := range byHost {
			if p.ID == s.Portal {
				return nil // asked for at every click: the one portal there is has every address
			}
		}
	}
	p, err := g.portal(ctx)
	if err == nil && p.ID != s.Portal {
		return errUnauthenticated
	}
	return err
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

// refusals are all codes that a route may answer with.
func refusals(who guard, own []contract.Code) []contract.Code {
	all := slices.Concat(always, own)
	if who.key {
		all = append(all, contract.Unauthenticated)
	}
	if who.ofSignIn {
		all = append(all, ofSignIn...)
	}
	if who.session {
		all = append(all, contract.Unauthenticated)
	}
	if who.admin || who.anyAdmin {
		all = append(all, contract.Forbidden)
	}
	if who.stepUp {
		all = append(all, contract.StepUpRequired)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
