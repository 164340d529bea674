package gateway

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// This file is the account page and what is done from it.

// accountNotices are what the account page says after something was done, by the word in its address.
var accountNotices = map[string]web.Text{
	"others-signed-out": web.OthersSignedOut, "session-ended": web.SessionEnded, "on": web.FactorOn, "replaced": web.FactorReplaced,
	"removed": web.FactorRemoved, "renamed": web.FactorRenamed, "over": web.EnrolmentOver,
}

func (g *gateway) toAccount(c *fiber.Ctx, notice string) error {
	return c.Redirect(home+"?"+url.Values{"notice": {notice}}.Encode(), fiber.StatusSeeOther)
}

func (g *gateway) pageAccount(c *fiber.Ctx) error {
	return g.showAccount(c, fiber.StatusOK, accountNotices[c.Query("notice")], nil)
}

// refuseAccount shows the account page with the reason why something was not done.
func (g *gateway) refuseAccount(c *fiber.Ctx, err error) error {
	e := contract.AsError(err)
	switch e.Code { //nolint:exhaustive // every other refusal is said in its own words
	case contract.Unavailable, contract.InternalError, contract.Unauthenticated:
		return err
	}
	say := web.Text(e.Detail)
	if errors.Is(err, errNotRemovable) {
		say = web.FactorNotRemovable
	}
	return g.showAccount(c, refusalStatus(e), say, nil)
}

// sessionsShown is how many sessions the account page lists; it counts them all, and the API lists them all.
const sessionsShown = 20

// showAccount shows the account page; refusal says why recovery codes were not made. An answer of 4xx has its notice
// shown as a refusal.
func (g *gateway) showAccount(c *fiber.Ctx, status int, notice web.Text, refusal *contract.Error) error {
	s := sessionOf(c.UserContext())
	d, left, err := g.accountState(c.UserContext(), s)
	if err != nil {
		return err
	}
	enrolled := hasFactor(d, s.Who.Audience)
	page := web.Account{
		Notice: notice, Refused: status >= fiber.StatusBadRequest && refusal == nil, SignedInAt: s.AuthTime, Until: s.ExpiresAt,
		RecoveryLeft: left, RecoveryMade: left > 0, StepUpNeeded: !s.fresh(g.now()), CanRecover: enrolled,
		CanAddTOTP: s.Who.Audience == contract.Internal && d.MayEnroll && !enrolled,
	}
	if n := toldReset(d); n != nil {
		page.ResetAt, page.ResetCause = n.At, web.ResetCause(n.Cause)
	}
	for _, m := range s.Methods {
		page.Methods = append(page.Methods, web.Method(m))
	}
	live := g.sessions.list(s.account())
	page.OtherSessions = len(live) - 1
	for _, own := range live[:min(len(live), sessionsShown)] {
		page.Sessions = append(page.Sessions, web.OwnSession{
			ID: own.ID, Current: own.ID == s.ID, Browser: own.Device.Browser, System: own.Device.System, Network: own.Device.Network,
			SignedInAt: own.AuthTime, SeenAt: own.SeenAt,
		})
	}
	for _, i := range d.Factors {
		credential := web.Credential{
			Factor: web.Factor(i.Factor), Label: i.Label, Since: i.Since,
			CanRename: true, CanReplace: i.Factor == contract.FactorTOTP && d.MayEnroll, CanRemove: d.MayRemove,
		}
		if i.Factor == contract.FactorSMS {
			r, err := bus.Request(c.UserContext(), g.svc.Bus, contract.SMSStatus, contract.SMSStatusRequest{Account: s.account()})
			if err != nil {
				return err
			}
			credential.Destination = r.Destination
		}
		page.Credentials = append(page.Credentials, credential)
	}
	if page.StepUp, err = g.stepUpFields(c, s, enrolled, refusal); err != nil {
		return err
	}
	page.RecoveryOpen = refusal != nil || page.StepUp.Delivery != ""
	return g.render(c, status, page)
}

// stepUpFields is what the fields of a step-up show: how far its text message is, and what was wrong with the last try.
func (g *gateway) stepUpFields(c *fiber.Ctx, s session, enrolled bool, refusal *contract.Error) (web.StepUpFields, error) {
	var f web.StepUpFields
	var err error
	if f.Provider, f.Proved, err = g.stepUpAt(c, s); err != nil {
		return f, err
	}
	if s.first() == byPortal && !f.Proved {
		u, err := g.accounts.byID(c.UserContext(), s.account())
		if err != nil {
			return f, err
		}
		f.AtPortal = u.Password == ""
	}
	if enrolled {
		f.Factor = web.Factor(factorOf(s.Who.Audience))
	}
	if f.Factor == web.SMS && s.StepUpChallenge != "" {
		o, err := g.flow.look(c.UserContext(), signIn{Portal: s.Portal, User: s.User, Status: StatusChallenge, Factor: contract.FactorSMS, Challenge: s.StepUpChallenge, ExpiresAt: s.ExpiresAt, PublishedAt: g.now()})
		if err != nil {
			return f, err
		}
		f.Destination, f.Delivery, f.Paused, f.ResendIn = o.Destination, web.Delivery(o.delivery), o.paused, g.resendIn(o.ResendAt)
	}
	switch {
	case refusal == nil:
	case refusal.Field == "password":
		f.PasswordError = web.PasswordMissing
	case refusal.Code == contract.InvalidCredentials:
		f.PasswordError = web.PasswordWrong
	case refusal.Reason == contract.LimitPassword, refusal.Reason == contract.LimitPasswordNetwork:
		f.PasswordError, f.PasswordUntil = g.overPasswords(c, refusal)
	default:
		f.CodeError, f.AttemptsLeft, f.LockedUntil, f.ClockOffset = codeRefusal(refusal)
	}
	return f, nil
}

// proof makes sure that a form that matters comes from somebody who has just proved who they are: ok tells by a session
// whether they have. Otherwise the answer is the page that asks for password and code; it carries the form's fields and
// posts them to where they were going, so that it goes on there. The session returned has stepped up, where the form
// brought what it takes.
func (g *gateway) proof(c *fiber.Ctx, why web.Text, ok func(session) bool) (s session, proven bool, answer error) {
	s = sessionOf(c.UserContext())
	if ok(s) {
		return s, true, nil
	}
	if !c.Request().PostArgs().Has("password") {
		return s, false, g.askStepUp(c, fiber.StatusOK, c.Path(), why, nil)
	}
	password, code := formSecret(c, "password"), formSecret(c, "code")
	err := error(errPasswordMissing)
	if !password.Empty() {
		s, err = g.stepUp(c.UserContext(), s, password, code)
	}
	if err != nil {
		e := contract.AsError(err)
		if e.Code == contract.Unavailable || e.Code == contract.InternalError || e.Code == contract.Unauthenticated {
			return s, false, err
		}
		return s, false, g.askStepUp(c, refusalStatus(e), c.Path(), why, e)
	}
	return s, true, nil
}

var errPasswordMissing = &contract.Error{Code: contract.InvalidRequest, Detail: "Please enter password.", Field: "password"}

// isFresh is what most forms that matter ask of a session.
func (g *gateway) isFresh(s session) bool { return s.fresh(g.now()) }

// stepUpOwn are the fields of the step-up page itself, which it does not carry on.
var stepUpOwn = []string{"csrf", "username", "password", "code", "step_up_action", "step_up_why"}

// askStepUp shows the page that asks for password and code, and then posts to action what this form brought.
func (g *gateway) askStepUp(c *fiber.Ctx, status int, action string, why web.Text, refusal *contract.Error) error {
	s := sessionOf(c.UserContext())
	d, err := g.flow.decide(c.UserContext(), s.Portal, s.Who)
	if err != nil {
		return err
	}
	page := web.StepUp{Why: why, Action: action}
	if strings.HasPrefix(action, "/admin/") {
		page.Cancel = "/admin"
	}
	for name, value := range c.Request().PostArgs().All() {
		if !slices.Contains(stepUpOwn, string(name)) {
			page.Carry = append(page.Carry, web.Field{Name: string(name), Value: string(value)})
		}
	}
	if page.StepUpFields, err = g.stepUpFields(c, s, hasFactor(d, s.Who.Audience), refusal); err != nil {
		return err
	}
	return g.render(c, status, page)
}

// postStepUpSend texts a code for a step-up, and shows the page again that asks for it.
func (g *gateway) postStepUpSend(c *fiber.Ctx) error {
	status, refusal := fiber.StatusOK, (*contract.Error)(nil)
	if _, err := g.stepUpSend(c.UserContext(), sessionOf(c.UserContext())); err != nil {
		refusal = contract.AsError(err)
		switch refusal.Code { //nolint:exhaustive // every other error has its own page
		case contract.TooSoon, contract.RateLimited, contract.Locked:
			status = refusalStatus(refusal)
		default:
			return err
		}
	}
	if action := localPath(field(c, "step_up_action")); strings.HasPrefix(action, "/account/") || strings.HasPrefix(action, "/admin/") {
		// The session knows of the text message now.
		s, err := g.sessions.check(c.UserContext(), g.cookie(c, sessionCookie))
		if err != nil {
			return err
		}
		c.SetUserContext(context.WithValue(c.UserContext(), sessionKey{}, s))
		why := web.Text(field(c, "step_up_why"))
		if !web.IsWhy(why) {
			why = ""
		}
		return g.askStepUp(c, status, action, why, refusal)
	}
	if refusal != nil {
		return g.showAccount(c, status, "", refusal)
	}
	return c.Redirect(home+"#recovery", fiber.StatusSeeOther)
}

func (g *gateway) postRecoveryCodes(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	if !s.fresh(g.now()) {
		var err error
		if s, err = g.stepUp(ctx, s, formSecret(c, "password"), formSecret(c, "code")); err != nil {
			e := contract.AsError(err)
			if e.Code == contract.Unavailable || e.Code == contract.InternalError || e.Code == contract.Unauthenticated {
				return err
			}
			return g.showAccount(c, refusalStatus(e), "", e)
		}
	}
	_, left, err := g.accountState(ctx, s)
	if err != nil {
		return err
	}
	codes, err := g.newRecoveryCodes(ctx, s)
	if err != nil {
		return err
	}
	return g.render(c, fiber.StatusOK, web.RecoveryCodes{Codes: codes, Replaced: left > 0, Email: s.Who.Email})
}

func (g *gateway) postSignOutOthers(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	if err := g.sessions.endOthers(c.UserContext(), s.account(), s.ID); err != nil {
		return err
	}
	return g.toAccount(c, "others-signed-out")
}

func (g *gateway) postEndSession(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	err := g.sessions.endOwn(c.UserContext(), s.account(), field(c, "session"))
	if err != nil && contract.CodeOf(err) != contract.NotFound { // it has ended by itself meanwhile
		return err
	}
	if field(c, "session") == s.ID {
		g.dropCookie(c, sessionCookie)
		return g.toSignIn(c, "signed-out", "")
	}
	return g.toAccount(c, "session-ended")
}
