package gateway

import (
	"errors"
	"io"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sallyport/services/auth-gateway/web"
)

// pageBranding is how the portal looks, and whom people can ask.
func (g *gateway) pageBranding(c *fiber.Ctx) error {
	p, err := g.desk.brand(c.UserContext(), sessionOf(c.UserContext()))
	if err != nil {
		return err
	}
	return g.render(c, fiber.StatusOK, web.BrandingForm{Notice: notice(c), Brand: brandOf(p), LogoSize: logoMost >> 10})
}

// typedBrand is the look as the form was sent; logos have forms of their own.
func typedBrand(c *fiber.Ctx, p portal) web.BrandingForm {
	b := brandOf(p)
	b.Name, b.Accent = field(c, "name"), field(c, "accent")
	b.SupportEmail, b.SupportURL, b.HelpText = field(c, "support_email"), field(c, "support_url"), field(c, "help_text")
	b.RequestAccountURL, b.ResetLoginURL = field(c, "request_account_url"), field(c, "reset_login_url")
	page := web.BrandingForm{Brand: b, LogoSize: logoMost >> 10}
	if strings.TrimSpace(b.Name) == "" {
		page.NameError = web.PortalNameMissing
	}
	return page
}

// postBrandPreview shows the form again, with a sample of the colour as it is typed; it saves nothing.
func (g *gateway) postBrandPreview(c *fiber.Ctx) error {
	p, err := g.desk.brand(c.UserContext(), sessionOf(c.UserContext()))
	if err != nil {
		return err
	}
	page := typedBrand(c, p)
	page.NameError = ""
	return g.render(c, fiber.StatusOK, page)
}

// pageSample is a picture of a colour as buttons and links.
func (g *gateway) pageSample(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "image/svg+xml")
	return c.Send(web.BrandSample(c.Query("accent"), web.Say("en", web.SampleButton), web.Say("en", web.SampleLink)))
}

// postBranding saves the look.
func (g *gateway) postBranding(c *fiber.Ctx) error {
	ctx := c.UserContext()
	p, err := g.desk.brand(ctx, sessionOf(ctx))
	if err != nil {
		return err
	}
	page := typedBrand(c, p)
	if page.Wrong() {
		return g.render(c, fiber.StatusUnprocessableEntity, page)
	}
	return g.rebrand(c, page, brandingOf(page.Brand))
}

func brandingOf(b web.Brand) branding {
	return branding{
		Name: b.Name, Accent: b.Accent, SupportEmail: b.SupportEmail, SupportURL: b.SupportURL, HelpText: b.HelpText,
		RequestAccountURL: b.RequestAccountURL, ResetLoginURL: b.ResetLoginURL,
	}
}

// rebrand has the desk save, or shows the form with what it refused.
func (g *gateway) rebrand(c *fiber.Ctx, page web.BrandingForm, b branding) error {
	err := g.desk.rebrand(c.UserContext(), sessionOf(c.UserContext()), b)
	if err == nil {
		return withNotice(c, "/admin/branding", "branding")
	}
	e := refused(err)
	if e == nil {
		return err
	}
	fields := map[string]*web.Text{
		"name": &page.NameError, "accent": &page.AccentError, "support_email": &page.SupportEmailError, "support_url": &page.SupportURLError,
		"help_text": &page.HelpTextError, "request_account_url": &page.RequestError, "reset_login_url": &page.ResetError,
		"logo": &page.LogoError, "logo_dark": &page.LogoError,
	}
	if at, ok := fields[e.Field]; ok {
		*at = web.Text(e.Detail)
	} else {
		page.Refused = web.Text(e.Detail)
	}
	return g.render(c, refusalStatus(e), page)
}

// postLogo saves a logo for light or dark pages, or takes it away.
func (g *gateway) postLogo(c *fiber.Ctx) error {
	ctx := c.UserContext()
	p, err := g.desk.brand(ctx, sessionOf(ctx))
	if err != nil {
		return err
	}
	page := web.BrandingForm{Brand: brandOf(p), LogoSize: logoMost >> 10}
	var sent *picture
	if field(c, "remove") != "" {
		sent = &picture{}
	} else if sent, err = pictureOf(c); err != nil {
		page.LogoError = web.LogoInvalid
		return g.render(c, fiber.StatusUnprocessableEntity, page)
	}
	b := brandingOf(page.Brand)
	if field(c, "which") == "dark" {
		b.LogoDark = sent
	} else {
		b.Logo = sent
	}
	return g.rebrand(c, page, b)
}

// pictureOf reads the file of a form.
func pictureOf(c *fiber.Ctx) (*picture, error) {
	header, err := c.FormFile("logo")
	if err != nil {
		return nil, err
	}
	f, err := header.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBody))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, errors.New("an empty file")
	}
	return &picture{Data: data}, nil
}
