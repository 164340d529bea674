package gateway

import (
	"strconv"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// policyPage is a portal's settings as the form holds them.
func policyPage(set contract.Settings) web.Policy {
	mode := func(m contract.Mode) web.Mode {
		if m == "" {
			return web.Off
		}
		return web.Mode(m)
	}
	return web.Policy{Internal: mode(set.Internal.Mode), Organizations: mode(set.Organizations.Mode), AllowOptOut: set.Organizations.AllowOptOut, Version: set.Version}
}

// wantedSettings are the settings as the form was sent.
func wantedSettings(c *fiber.Ctx) contract.Settings {
	version, err := strconv.ParseInt(field(c, "version"), 10, 64)
	if err != nil {
		version = -1 // nobody's version: the change is refused as made from an old one
	}
	return contract.Settings{
		Internal:      contract.PopulationSettings{Mode: contract.Mode(field(c, "internal"))},
		Organizations: contract.OrganizationSettings{Mode: contract.Mode(field(c, "organizations")), AllowOptOut: field(c, "allow_opt_out") != ""},
		Version:       version,
	}
}

// pageSettings shows who must have a second factor.
func (g *gateway) pageSettings(c *fiber.Ctx) error {
	return g.showSettings(c, fiber.StatusOK, web.SettingsForm{Notice: notice(c)})
}

func (g *gateway) showSettings(c *fiber.Ctx, status int, page web.SettingsForm) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	var (
		r   contract.RulesReply
		own contract.Decision
	)
	err := together(
		func() (err error) { r, err = g.desk.rules(ctx, s); return err },
		func() (err error) { own, err = g.flow.decide(ctx, s.Portal, s.Who); return err },
	)
	if err != nil {
		return err
	}
	page.Policy = policyPage(r.Settings)
	if own.Standing != contract.Enrolled && own.Standing != contract.Exempt {
		page.Locked = web.FirstEnroll
	}
	return g.render(c, status, page)
}

// postPreview shows whom a change would hit; it saves nothing.
func (g *gateway) postPreview(c *fiber.Ctx) error {
	return g.showPreview(c, fiber.StatusOK, wantedSettings(c), "", nil)
}

func (g *gateway) showPreview(c *fiber.Ctx, status int, wanted contract.Settings, refusal web.Text, proof *contract.Error) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	var (
		r contract.RulesReply
		p preview
	)
	err := together(
		func() (err error) { r, err = g.desk.rules(ctx, s); return err },
		func() (err error) { p, err = g.desk.preview(ctx, s, wanted); return err },
	)
	if err != nil {
		return err
	}
	if r.Settings.Version != wanted.Version {
		return g.showSettings(c, fiber.StatusConflict, web.SettingsForm{Stale: true, Wanted: policyPage(wanted)})
	}
	before, after := policyPage(r.Settings), policyPage(wanted)
	page := web.SettingsPreview{Policy: after, Refused: refusal, StepUpNeeded: !s.steppedUp(g.now())}
	for _, h := range []struct {
		web.Audience
		hit
	}{{web.InternalUsers, p.Internal}, {web.Contacts, p.Organizations}} {
		was, is := before.ModeText(h.Audience), after.ModeText(h.Audience)
		page.Hits = append(page.Hits, web.Hit{
			Audience: h.Audience, Before: was, After: is, Changed: was != is || h.Audience == web.Contacts && before.AllowOptOut != after.AllowOptOut,
			InScope: web.Figure(h.InScope), WillEnroll: web.Figure(h.WillEnroll), Skipped: web.Figure(h.Skipped),
		})
	}
	for _, w := range p.Warnings {
		page.Warnings = append(page.Warnings, web.Text(w.Text))
	}
	if page.StepUpNeeded {
		if page.StepUp, err = g.proofFields(c, proof); err != nil {
			return err
		}
	}
	return g.render(c, status, page)
}

// postSettings saves a change, after password and code.
func (g *gateway) postSettings(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	wanted := wantedSettings(c)
	if field(c, "send") != "" {
		return g.sendAndShow(c, s, func(e *contract.Error) error { return g.showPreview(c, fiber.StatusOK, wanted, "", e) })
	}
	s, err := g.prove(c, s, s.steppedUp(g.now()))
	if err != nil {
		if e := refused(err); e != nil {
			return g.showPreview(c, refusalStatus(e), wanted, "", e)
		}
		return err
	}
	if _, err = g.desk.change(ctx, s, wanted); err == nil {
		return withNotice(c, "/admin/settings", "settings")
	}
	e := refused(err)
	switch {
	case e == nil:
		return err
	case e.Code == contract.Conflict:
		return g.showSettings(c, fiber.StatusConflict, web.SettingsForm{Stale: true, Wanted: policyPage(wanted)})
	}
	keepSession(c, s)
	return g.showPreview(c, refusalStatus(e), wanted, web.Text(e.Detail), nil)
}
