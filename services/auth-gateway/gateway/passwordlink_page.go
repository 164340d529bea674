package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// pageWelcome is where a password link leads. It opens no session: the person signs in afterwards.
func (g *gateway) pageWelcome(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	u, err := g.desk.welcomed(c.UserContext(), p.ID, c.Params("token"))
	if err != nil {
		return g.linkOver(c, err)
	}
	return g.render(c, fiber.StatusOK, web.Welcome{Token: c.Params("token"), Email: u.Email})
}

func (g *gateway) postWelcome(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	u, err := g.desk.welcomed(c.UserContext(), p.ID, c.Params("token"))
	if err != nil {
		return g.linkOver(c, err)
	}
	page := web.Welcome{Token: c.Params("token"), Email: u.Email}
	password := formSecret(c, "password")
	if again := field(c, "again"); subtle.ConstantTimeCompare([]byte(again), []byte(password.Reveal())) != 1 {
		page.AgainError = web.PasswordsDiffer
	}
	if password.Empty() {
		page.PasswordError, page.AgainError = web.PasswordMissing, ""
	} else if why := weakness(password, u, p); why != "" {
		page.PasswordError = weaknessText[why]
	}
	if page.PasswordError != "" || page.AgainError != "" {
		return g.render(c, http.StatusUnprocessableEntity, page)
	}
	if err := g.desk.setPassword(c.UserContext(), p, page.Token, password); err != nil {
		return g.linkOver(c, err)
	}
	return g.toSignIn(c, "password-set", "")
}

// weaknessText are the reasons for refusing a password in the words of the catalogue.
var weaknessText = map[string]web.Text{
	passwordShort: web.PasswordShort, passwordLong: web.PasswordLong, passwordCommon: web.PasswordCommon, passwordKnown: web.PasswordKnown,
}

// linkOver says kindly that a link no longer works; every other error has its own page.
func (g *gateway) linkOver(c *fiber.Ctx, err error) error {
	if !errors.Is(err, errLinkOver) && contract.CodeOf(err) != contract.Expired {
		return err
	}
	return g.render(c, http.StatusGone, web.Welcome{Over: true})
}

// pageLogo is the portal's logo. Pages link it by its content, so that it may be kept for ever.
func (g *gateway) pageLogo(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	logo := p.Logo
	if strings.HasSuffix(c.Path(), "-dark") {
		logo = p.LogoDark
	}
	if logo == nil {
		return fiber.ErrNotFound
	}
	if c.Query("v") != "" {
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	// Nothing in a picture runs, even when it is opened by itself.
	c.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox")
	c.Set(fiber.HeaderContentType, logo.Type)
	return c.Send(logo.Data)
}

// logoURL is where pages find a logo, "" where there is none.
func logoURL(path string, p *picture) string {
	if p == nil {
		return ""
	}
	sum := sha256.Sum256(p.Data)
	return path + "?v=" + hex.EncodeToString(sum[:8])
}
