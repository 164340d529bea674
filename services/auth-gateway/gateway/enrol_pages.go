package gateway

import (
	"errors"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

func (g *gateway) pageEnroll(c *fiber.Ctx) error {
	s, lost, answer := g.here(c, StatusEnroll)
	if lost {
		return answer
	}
	page := web.EnrollWelcome{Factor: web.Factor(s.Factor), CanSkip: s.CanSkip, Again: s.Again}
	if s.CodesLeft != nil {
		page.Recovered, page.CodesLeft = true, *s.CodesLeft
	}
	if s.Reset != nil {
		page.ResetAt, page.ResetCause = s.Reset.At, web.ResetCause(s.Reset.Cause)
	}
	return g.render(c, fiber.StatusOK, page)
}

func (g *gateway) postEnrollStart(c *fiber.Ctx) error {
	s, lost, answer := g.here(c, StatusEnroll)
	if lost {
		return answer
	}
	if s.Factor == contract.FactorSMS {
		return c.Redirect("/sign-in/enroll/sms", fiber.StatusSeeOther)
	}
	return c.Redirect("/sign-in/enroll/totp", fiber.StatusSeeOther)
}

func (g *gateway) postSkip(c *fiber.Ctx) error {
	o, err := g.flow.skip(c.UserContext(), "", g.cookie(c, signInCookie))
	if err != nil {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
		return err
	}
	return g.goOn(c, o)
}

func (g *gateway) pageTOTP(c *fiber.Ctx) error { return g.showTOTP(c, fiber.StatusOK, nil) }

// showTOTP shows the QR code, with what was wrong with the code that was typed.
func (g *gateway) showTOTP(c *fiber.Ctx, status int, refusal *contract.Error) error {
	s, lost, answer := g.here(c, StatusEnroll)
	if lost {
		return answer
	}
	if s.Factor != contract.FactorTOTP {
		return g.goOn(c, outcome{signIn: s})
	}
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	s, seed, err := g.flow.startTOTP(c.UserContext(), p, "", g.cookie(c, signInCookie))
	if err != nil {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
		return err
	}
	picture, err := qrPNG(seed.uri)
	if err != nil {
		return err
	}
	page := web.EnrollTOTP{
		QR: picture, Key: seed.key.Reveal(), URI: seed.uri.Reveal(), CanSkip: s.CanSkip, Label: field(c, "label"),
	}
	page.Error, page.AttemptsLeft, page.LockedUntil, page.ClockOffset = codeRefusal(refusal)
	if refusal == nil && s.Locked {
		page.Error, page.LockedUntil = closedText(g.flow.count(c.UserContext(), outcome{signIn: s}))
	}
	return g.render(c, status, page)
}

func (g *gateway) pagePhone(c *fiber.Ctx) error { return g.showPhone(c, fiber.StatusOK, "", "", nil) }

// showPhone shows the page that asks for a number, with what was wrong with the last one or with the time it came at.
func (g *gateway) showPhone(c *fiber.Ctx, status int, phone string, say web.Text, refusal *contract.Error) error {
	s, lost, answer := g.here(c, StatusEnroll)
	if lost {
		return answer
	}
	if s.Factor != contract.FactorSMS {
		return g.goOn(c, outcome{signIn: s})
	}
	page := web.EnrollPhone{Phone: phone, Error: say, CanSkip: s.CanSkip}
	s = s.limitedBy(refusal, g.now())
	if s.LimitedUntil.After(g.now()) {
		page.Limit, page.LimitUntil = limitText(s.Limited), s.LimitedUntil
	}
	return g.render(c, status, page)
}

func (g *gateway) postPhone(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	phone := field(c, "phone")
	o, err := g.flow.startSMS(c.UserContext(), p, "", g.cookie(c, signInCookie), phone)
	if err != nil {
		if handled, answer := g.elsewhere(c, err); handled {
			return answer
		}
		e := contract.AsError(err)
		say, _, _, _ := codeRefusal(e)
		if e.Code == contract.RateLimited {
			say = "" // the number is not what is wrong
		}
		if known, ok := phoneRefusals[e.Reason]; ok {
			say = known
		}
		if strings.TrimSpace(phone) == "" {
			say = web.PhoneMissing
		}
		return g.showPhone(c, refusalStatus(e), phone, say, e)
	}
	return g.goOn(c, o)
}

func (g *gateway) postConfirm(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	o, err := g.flow.confirm(c.UserContext(), p, "", g.cookie(c, signInCookie), formSecret(c, "code"), field(c, "label"))
	if err != nil {
		e := contract.AsError(err)
		s, lost, answer := g.here(c, StatusEnroll)
		if lost {
			return answer
		}
		// A text message's code has a life of its own, shorter than the sign-in's.
		if errors.Is(err, errOver) || e.Code != contract.Expired || s.Factor != contract.FactorSMS {
			if handled, answer := g.elsewhere(c, err); handled {
				return answer
			}
		}
		if s.Factor == contract.FactorSMS {
			return g.showCode(c, refusalStatus(e), e)
		}
		return g.showTOTP(c, refusalStatus(e), e)
	}
	if o.session == nil {
		return g.goOn(c, o)
	}
	g.setCookie(c, sessionCookie, o.token.Reveal())
	return c.Redirect("/sign-in/done", fiber.StatusSeeOther)
}
