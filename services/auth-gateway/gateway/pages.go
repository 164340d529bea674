package gateway

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// home is where a sign-in leads when no page was asked for first.
const home = "/account"

func (g *gateway) pageHome(c *fiber.Ctx) error { return c.Redirect(home, fiber.StatusSeeOther) }

func (g *gateway) pageStatic(c *fiber.Ctx) error {
	body, kind, ok := web.StaticFile(c.Params("name"))
	if !ok {
		return fiber.ErrNotFound
	}
	c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	c.Set(fiber.HeaderContentType, kind)
	return c.Send(body)
}

func (g *gateway) pageBrand(c *fiber.Ctx) error {
	brand := web.Brand{}
	if p, err := g.portal(c.UserContext()); err == nil {
		brand = brandOf(p)
	}
	if c.Query("v") != "" {
		// Pages link the look by its content, so that a change has another address.
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	c.Set(fiber.HeaderContentType, "text/css; charset=utf-8")
	return c.Send(web.BrandCSS(brand))
}

func (g *gateway) pageOpenAPI(c *fiber.Ctx) error {
	raw, err := g.api.OpenAPI().MarshalJSON()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/json")
	return c.Send(raw)
}

func (g *gateway) pageDocs(c *fiber.Ctx) error { return g.render(c, fiber.StatusOK, *g.docs.Load()) }

func (g *gateway) pageSignIn(c *fiber.Ctx) error {
	returnTo := localPath(c.Query("return"))
	if _, err := g.sessions.check(c.UserContext(), g.cookie(c, sessionCookie)); err == nil {
		return c.Redirect(orHome(returnTo), fiber.StatusSeeOther)
	}
	return g.render(c, fiber.StatusOK, web.SignIn{Return: returnTo, Notice: notices[c.Query("notice")], Refusal: turnedBack[ending(c.Query("refused"))]})
}

func orHome(path string) string {
	if path == "" {
		return home
	}
	return path
}

func (g *gateway) postSignIn(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	page := web.SignIn{Email: field(c, "email"), Return: localPath(field(c, "return"))}
	password := formSecret(c, "password")
	if _, ok := canonicalEmail(page.Email); !ok {
		page.EmailError = web.EmailInvalid
	}
	if password.Empty() {
		page.PasswordError = web.PasswordMissing
	}
	if page.EmailError != "" || page.PasswordError != "" {
		return g.render(c, http.StatusUnprocessableEntity, page)
	}
	o, token, err := g.flow.begin(c.UserContext(), p, page.Email, password, page.Return)
	if err != nil {
		e := contract.AsError(err)
		if page.Error, page.Until = g.overPasswords(c, e); page.Error != "" {
			return g.render(c, http.StatusTooManyRequests, page)
		}
		if e.Code == contract.InvalidCredentials {
			page.Error = web.WrongPassword
			return g.render(c, http.StatusUnauthorized, page)
		}
		return err // it has its own page
	}
	g.setCookie(c, signInCookie, token.Reveal())
	return g.goOn(c, o)
}

// overPasswords is what a page says where too many passwords were tried, and when another is taken; nothing for any
// other refusal.
func (g *gateway) overPasswords(c *fiber.Ctx, e *contract.Error) (say web.Text, until time.Time) {
	switch e.Reason { //nolint:exhaustive // every other limit is one on text messages
	case contract.LimitPassword:
		say = web.PasswordLimit
	case contract.LimitPasswordNetwork:
		say = web.NetworkLimit
	default:
		return "", time.Time{}
	}
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(e.RetryAfter))
	return say, g.now().Add(time.Duration(e.RetryAfter) * time.Second)
}

// goOn sends the browser to the page of a sign-in's status; a session that was handed out goes into its cookie.
func (g *gateway) goOn(c *fiber.Ctx, o outcome) error {
	if o.session != nil {
		g.setCookie(c, sessionCookie, o.token.Reveal())
	}
	to := "/sign-in"
	switch o.Status {
	case StatusEnroll:
		to = "/sign-in/enroll"
		if o.Challenge != "" {
			to = "/sign-in/code"
		}
	case StatusChallenge:
		to = "/sign-in/code"
	case StatusComplete:
		to = o.onward()
	case StatusRelogin:
		if o.leadsBack() {
			return c.Redirect(backPath, fiber.StatusSeeOther)
		}
		g.dropCookie(c, signInCookie)
		return g.toSignIn(c, "confirmed", o.ReturnTo)
	}
	return c.Redirect(to, fiber.StatusSeeOther)
}

// here loads the browser's sign-in for a page. lost is set, with the answer, when there is none that can go on.
func (g *gateway) here(c *fiber.Ctx, want ...Status) (s signIn, lost bool, answer error) {
	s, _, err := g.flow.load(c.UserContext(), "", g.cookie(c, signInCookie))
	switch e := contract.CodeOf(err); {
	case err == nil:
	case e == contract.Unauthenticated, e == contract.NotFound:
		return s, true, g.toSignIn(c, "", "")
	default:
		return s, true, err
	}
	if refusal := usable(s.Status, s.ExpiresAt, g.now()); refusal != nil {
		if s.leadsBack() {
			return s, true, c.Redirect(backPath, fiber.StatusSeeOther)
		}
		switch s.Status { //nolint:exhaustive // the others took too long
		case StatusComplete:
			return s, true, c.Redirect(orHome(s.ReturnTo), fiber.StatusSeeOther)
		case StatusRelogin:
			g.dropCookie(c, signInCookie)
			return s, true, g.toSignIn(c, "first", "")
		}
		return s, true, g.toSignIn(c, "expired", "")
	}
	for _, w := range want {
		if s.Status == w {
			return s, false, nil
		}
	}
	return s, true, g.goOn(c, outcome{signIn: s})
}

// elsewhere answers the refusals that end or move a sign-in, the same for each of its forms; handled is false for a
// refusal that the form's own page explains.
func (g *gateway) elsewhere(c *fiber.Ctx, err error) (handled bool, answer error) {
	switch contract.CodeOf(err) { //nolint:exhaustive // every other refusal belongs to the page
	case contract.Expired:
		if s, _, err := g.flow.load(c.UserContext(), "", g.cookie(c, signInCookie)); err == nil && s.leadsBack() {
			return true, c.Redirect(backPath, fiber.StatusSeeOther)
		}
		return true, g.toSignIn(c, "expired", "")
	case contract.Unauthenticated, contract.NotFound:
		return true, g.toSignIn(c, "", "")
	case contract.Conflict:
		s, lost, answer := g.here(c, StatusEnroll, StatusChallenge)
		if lost {
			return true, answer
		}
		return true, g.goOn(c, outcome{signIn: s})
	case contract.Unavailable, contract.InternalError:
		return true, err
	}
	return false, nil
}

// codeRefusal is what a page says of a refused code.
func codeRefusal(e *contract.Error) (say web.Text, left int, until time.Time, offset time.Duration) {
	if e == nil {
		return "", 0, time.Time{}, 0
	}
	if e.AttemptsLeft != nil {
		left = *e.AttemptsLeft
	}
	if e.LockedUntil != nil {
		until = *e.LockedUntil
	}
	if e.ClockOffset != nil {
		offset = time.Duration(*e.ClockOffset) * time.Second
	}
	switch e.Code { //nolint:exhaustive // every other code is said in its own words
	case contract.InvalidCode:
		say = web.CodeWrong
		if e.Reason == contract.CodeMalformed {
			say = web.CodeIncomplete
		}
	case contract.Locked:
		say = web.CodeLocked
		if e.LockedUntil == nil {
			say = web.CodeDisabled
		}
	case contract.TooSoon:
		say = web.TooSoon
	case contract.RateLimited:
		say = web.TooManyTexts
		if e.Reason != "" {
			say = limitText(e.Reason)
		}
	case contract.Expired:
		say = web.CodeExpired
	default:
		say = web.Text(e.Detail)
	}
	return say, left, until, offset
}

// refusalStatus is the status of a form that is shown again.
func refusalStatus(e *contract.Error) int { return problemOf(e).Status }

// phoneRefusals are what the page says of a number that is refused.
var phoneRefusals = map[contract.Reason]web.Text{
	contract.PhoneNotANumber: web.PhoneInvalid, contract.PhoneCountry: web.PhoneCountry, contract.PhoneKind: web.PhoneKind,
}

func (g *gateway) pageCode(c *fiber.Ctx) error { return g.showCode(c, fiber.StatusOK, nil) }

// showCode shows the page that asks for a code, with what was wrong with the last one.
func (g *gateway) showCode(c *fiber.Ctx, status int, refusal *contract.Error) error {
	s, lost, answer := g.here(c, StatusEnroll, StatusChallenge)
	if lost {
		return answer
	}
	if s.Status == StatusEnroll && s.Challenge == "" {
		return g.goOn(c, outcome{signIn: s})
	}
	s = s.limitedBy(refusal, g.now())
	o, err := g.flow.look(c.UserContext(), s)
	if err != nil {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
		return err
	}
	page := web.Code{
		Factor: web.Factor(s.Factor), Purpose: web.Challenge, Destination: o.Destination, Label: s.Label,
		Delivery: web.Delivery(o.delivery), Paused: o.paused, ResendIn: g.resendIn(o.ResendAt), Ways: waysOf(o, g.now()),
	}
	page.DeliveryText, page.DeliveryDo = deliveryText(o)
	if s.Status == StatusEnroll {
		page.Purpose = web.Enrollment
	}
	page.Error, page.AttemptsLeft, page.LockedUntil, page.ClockOffset = codeRefusal(refusal)
	if refusal != nil && refusal.Code == contract.RateLimited {
		page.Error = "" // no code is wrong
	}
	if s.LimitedUntil.After(g.now()) {
		page.Limit, page.LimitUntil = limitText(s.Limited), s.LimitedUntil
	}
	page.Unsent = s.Factor == contract.FactorSMS && s.Challenge == ""
	if refusal == nil {
		page.Error, page.LockedUntil = closedText(o)
	}
	return g.render(c, status, page)
}

// closedText is what a page says of a factor that takes no code, before any is typed.
func closedText(o outcome) (say web.Text, until time.Time) {
	switch {
	case o.lockedUntil != nil:
		return web.CodeLocked, *o.lockedUntil
	case o.attemptsLeft != nil && *o.attemptsLeft == 0:
		return web.CodeDisabled, time.Time{}
	}
	return "", time.Time{}
}

// deliveryText says why a text message failed, and what to do about it.
func deliveryText(o outcome) (why, what web.Text) {
	if o.delivery != contract.DeliveryFailed {
		return "", ""
	}
	switch o.reason {
	case contract.ReasonInvalidNumber:
		if o.Status == StatusEnroll {
			return web.DeliveryRefused, web.DoCheckNumber
		}
		return web.DeliveryRefused, web.DoOtherWay
	case contract.ReasonOptedOut:
		return web.DeliveryOptedOut, web.DoOptIn
	case contract.ReasonExpired, contract.ReasonSuperseded:
		return web.DeliveryExpired, web.DoAskAgain
	case contract.ReasonStopped:
		return web.DeliveryStopped, web.DoChooseWay
	case contract.ReasonUnsendable:
		return web.DeliveryUnsendable, web.DoTryAgain
	case contract.ReasonCarrier:
	}
	return web.DeliveryCarrier, web.DoTryAgain
}

func (g *gateway) postCode(c *fiber.Ctx) error {
	o, err := g.flow.verify(c.UserContext(), "", g.cookie(c, signInCookie), formSecret(c, "code"))
	if err == nil {
		return g.goOn(c, o)
	}
	e := contract.AsError(err)
	s, lost, answer := g.here(c, StatusChallenge)
	if lost {
		return answer
	}
	// "Conflict" without a text message means that none was sent yet, and a code may expire before its sign-in.
	if errors.Is(err, errOver) || s.Factor != contract.FactorSMS || e.Code != contract.Expired && e.Code != contract.Conflict {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
	}
	return g.showCode(c, refusalStatus(e), e)
}

func (g *gateway) postResend(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	o, err := g.flow.resend(c.UserContext(), p, "", g.cookie(c, signInCookie))
	if err != nil {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
		e := contract.AsError(err)
		return g.showCode(c, refusalStatus(e), e)
	}
	return g.goOn(c, o)
}

// pageStatus is what a page asks while its text message is on the way.
func (g *gateway) pageStatus(c *fiber.Ctx) error {
	s, _, err := g.flow.load(c.UserContext(), "", g.cookie(c, signInCookie))
	if err == nil {
		var o outcome
		if o, err = g.flow.look(c.UserContext(), s); err == nil && (s.Status == StatusEnroll || s.Status == StatusChallenge) {
			status := web.Status{Delivery: web.Delivery(o.delivery), Paused: o.paused, ResendIn: g.resendIn(o.ResendAt), Offer: waysOf(o, g.now()).In == 0}
			if why, what := deliveryText(o); why != "" {
				status.DeliveryText = web.Say("en", why) + " " + web.Say("en", what)
			}
			return c.JSON(status)
		}
	}
	if e := contract.CodeOf(err); err != nil && (e == contract.Unavailable || e == contract.InternalError) {
		return err
	}
	return c.JSON(web.Status{Expired: true})
}

func (g *gateway) pageRecover(c *fiber.Ctx) error { return g.showRecover(c, fiber.StatusOK, nil) }

func (g *gateway) showRecover(c *fiber.Ctx, status int, refusal *contract.Error) error {
	s, lost, answer := g.here(c, StatusChallenge)
	if lost {
		return answer
	}
	page := web.Recover{Factor: web.Factor(s.Factor)}
	page.Error, page.AttemptsLeft, page.LockedUntil, _ = codeRefusal(refusal)
	if page.Error == web.CodeWrong || page.Error == web.CodeIncomplete {
		page.Error = web.RecoveryWrong
	}
	if refusal != nil && field(c, "recovery_code") == "" {
		page.Error = web.RecoveryMissing
	}
	return g.render(c, status, page)
}

func (g *gateway) postRecover(c *fiber.Ctx) error {
	o, err := g.flow.recoverWith(c.UserContext(), "", g.cookie(c, signInCookie), formSecret(c, "recovery_code"))
	if err != nil {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
		e := contract.AsError(err)
		return g.showRecover(c, refusalStatus(e), e)
	}
	return g.goOn(c, o)
}

func (g *gateway) pageHelp(c *fiber.Ctx) error {
	s, lost, answer := g.here(c, StatusEnroll, StatusChallenge)
	if lost {
		return answer
	}
	page := web.Help{Factor: web.Factor(s.Factor)}
	if s.Status == StatusEnroll && s.Challenge == "" {
		page.Back = "/sign-in/enroll"
	}
	return g.render(c, fiber.StatusOK, page)
}

func (g *gateway) postCancel(c *fiber.Ctx) error {
	if s, _, err := g.flow.load(c.UserContext(), "", g.cookie(c, signInCookie)); err == nil && s.leadsBack() {
		return c.Redirect(backPath, fiber.StatusSeeOther)
	}
	g.dropCookie(c, signInCookie)
	return g.toSignIn(c, "cancelled", "")
}

func (g *gateway) pageDone(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	page := web.Done{Next: home, Factor: web.Factor(factorOf(s.Who.Audience))}
	if done, _, err := g.flow.load(c.UserContext(), "", g.cookie(c, signInCookie)); err == nil && done.User == s.User {
		if page.Next = orHome(done.ReturnTo); done.leadsBack() {
			page.Next = done.back(g.now(), g.cookie(c, signInCookie))
		}
	}
	_, left, err := g.accountState(c.UserContext(), s)
	if err != nil {
		return err
	}
	page.SuggestCodes, page.CodesLeft = left == 0, left
	g.dropCookie(c, signInCookie)
	return g.render(c, fiber.StatusOK, page)
}

func (g *gateway) pageSignOut(c *fiber.Ctx) error { return g.render(c, fiber.StatusOK, web.SignOut{}) }

func (g *gateway) postSignOut(c *fiber.Ctx) error {
	if s, err := g.sessions.check(c.UserContext(), g.cookie(c, sessionCookie)); err == nil {
		if err := g.sessions.end(c.UserContext(), s.ID); err != nil {
			return err
		}
	} else if contract.CodeOf(err) != contract.Unauthenticated {
		return err // signing out must not look done when it is not
	}
	g.dropCookie(c, sessionCookie)
	g.dropCookie(c, signInCookie)
	return g.toSignIn(c, "signed-out", "")
}
