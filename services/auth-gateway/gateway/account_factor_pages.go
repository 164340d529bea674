package gateway

import (
	"errors"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// This file is the pages on which a person sets up, names, replaces and removes their own factors.

const totpPath = "/account/factors/totp"

// postReplaceTOTP begins to set up an authenticator, the first one or another.
func (g *gateway) postReplaceTOTP(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	d, err := g.flow.decide(c.UserContext(), s.Portal, s.Who)
	if err != nil {
		return err
	}
	s, proven, answer := g.proof(c, web.WhyFactor, func(s session) bool { return s.proven(hasFactor(d, s.Who.Audience), g.now()) })
	if !proven {
		return answer
	}
	if _, err := g.beginTOTP(c.UserContext(), s); err != nil {
		return g.refuseAccount(c, err)
	}
	return c.Redirect(totpPath, fiber.StatusSeeOther)
}

func (g *gateway) pageReplaceTOTP(c *fiber.Ctx) error {
	return g.showReplaceTOTP(c, fiber.StatusOK, nil)
}

// showReplaceTOTP shows the QR code that postReplaceTOTP has begun with, with what was wrong with the code that was
// typed.
func (g *gateway) showReplaceTOTP(c *fiber.Ctx, status int, refusal *contract.Error) error {
	s := sessionOf(c.UserContext())
	shown, err := g.shownTOTP(c.UserContext(), s)
	if e := contract.CodeOf(err); err != nil && (e == contract.Conflict || e == contract.Expired) {
		return g.toAccount(c, "over")
	}
	if err != nil {
		return err
	}
	d, err := g.flow.decide(c.UserContext(), s.Portal, s.Who)
	if err != nil {
		return err
	}
	picture, err := qrPNG(shown.uri)
	if err != nil {
		return err
	}
	page := web.EnrollTOTP{
		QR: picture, Key: shown.key.Reveal(), URI: shown.uri.Reveal(), Label: field(c, "label"), Action: totpPath + "/confirm", Cancel: home,
		Replaces: hasFactor(d, s.Who.Audience),
	}
	page.Error, page.AttemptsLeft, page.LockedUntil, page.ClockOffset = codeRefusal(refusal)
	return g.render(c, status, page)
}

func (g *gateway) postConfirmTOTP(c *fiber.Ctx) error {
	old := sessionOf(c.UserContext())
	d, err := g.flow.decide(c.UserContext(), old.Portal, old.Who)
	if err != nil {
		return err
	}
	s, token, err := g.confirmTOTP(c.UserContext(), old, formSecret(c, "code"), field(c, "label"))
	if err != nil {
		e := contract.AsError(err)
		switch e.Code { //nolint:exhaustive // every other refusal is the page's to say
		case contract.Unavailable, contract.InternalError, contract.Unauthenticated:
			return err
		case contract.Conflict, contract.Expired:
			if errors.Is(err, errActiveAlready) {
				return g.toAccount(c, "on")
			}
			return g.toAccount(c, "over")
		}
		return g.showReplaceTOTP(c, refusalStatus(e), e)
	}
	g.setCookie(c, sessionCookie, token.Reveal())
	if hasFactor(d, s.Who.Audience) {
		return g.toAccount(c, "replaced")
	}
	return g.toAccount(c, "on")
}

// factorOfPath is the factor that an address names.
func factorOfPath(c *fiber.Ctx) (contract.Factor, error) {
	switch f := contract.Factor(c.Params("factor")); f {
	case contract.FactorTOTP, contract.FactorSMS:
		return f, nil
	}
	return "", fiber.ErrNotFound
}

func (g *gateway) postRenameFactor(c *fiber.Ctx) error {
	factor, err := factorOfPath(c)
	if err != nil {
		return err
	}
	if err := g.renameFactor(c.UserContext(), sessionOf(c.UserContext()), factor, strings.TrimSpace(field(c, "label"))); err != nil {
		return g.refuseAccount(c, err)
	}
	return g.toAccount(c, "renamed")
}

// pageRemoveFactor says what it means to remove a factor, before it is done.
func (g *gateway) pageRemoveFactor(c *fiber.Ctx) error {
	factor, err := factorOfPath(c)
	if err != nil {
		return err
	}
	i, err := g.mayRemove(c.UserContext(), sessionOf(c.UserContext()), factor)
	if err != nil {
		return g.refuseAccount(c, err)
	}
	return g.render(c, fiber.StatusOK, web.RemoveFactor{Factor: web.Factor(factor), Label: i.Label})
}

func (g *gateway) postRemoveFactor(c *fiber.Ctx) error {
	factor, err := factorOfPath(c)
	if err != nil {
		return err
	}
	// What is refused anyhow is refused before anybody types a password.
	if _, err := g.mayRemove(c.UserContext(), sessionOf(c.UserContext()), factor); err != nil {
		return g.refuseAccount(c, err)
	}
	s, proven, answer := g.proof(c, web.WhyFactor, g.isFresh)
	if !proven {
		return answer
	}
	if err := g.removeFactor(c.UserContext(), s, factor); err != nil {
		return g.refuseAccount(c, err)
	}
	return g.toAccount(c, "removed")
}

func (g *gateway) pageEnableSMS(c *fiber.Ctx) error {
	if err := g.mayEnableSMS(c.UserContext(), sessionOf(c.UserContext())); err != nil {
		return g.refuseAccount(c, err)
	}
	return g.render(c, fiber.StatusOK, web.EnableSMS{})
}

func (g *gateway) postEnableSMS(c *fiber.Ctx) error {
	if err := g.enableSMS(c.UserContext(), sessionOf(c.UserContext())); err != nil {
		return g.refuseAccount(c, err)
	}
	g.dropCookie(c, sessionCookie)
	g.dropCookie(c, signInCookie)
	return g.toSignIn(c, "to-enroll", "")
}
