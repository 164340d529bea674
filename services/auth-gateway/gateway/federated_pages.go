package gateway

import (
	"errors"
	"log/slog"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
	"sallyport/services/auth-gateway/web"
)

// journeyCookie binds a way to a provider to the browser that began it.
const journeyCookie = "provider"

// turnedBack is what the sign-in page says of each way that did not arrive.
var turnedBack = map[ending]web.Text{
	endedCancelled: web.ProviderCancelled, endedRefused: web.ProviderRefused, endedUnknown: web.ProviderUnknown,
	endedUntrusted: web.ProviderUntrusted, endedUnverified: web.ProviderUnverified, endedDomain: web.ProviderDomain,
	endedLocal: web.ProviderLocal, endedOther: web.ProviderOther, endedDisabled: web.ProviderDisabled,
	endedStale: web.ProviderStale, endedDown: web.ProviderDown,
}

// buttons are the doors of a portal's providers, for its sign-in page.
func buttons(p portal, returnTo string) []web.Provider {
	var out []web.Provider
	for _, v := range p.providerOrder() {
		to := "/sign-in/with/" + v.ID
		if returnTo != "" {
			to += "?" + url.Values{"return": {returnTo}}.Encode()
		}
		out = append(out, web.Provider{Name: v.Name, URL: to})
	}
	return out
}

// pageWith sends the browser to a provider. It is a link and no form: the page's policy lets forms lead nowhere else.
func (g *gateway) pageWith(c *fiber.Ctx) error {
	return g.setOut(c, localPath(c.Query("return")), session{})
}

// pageStepUpWith sends a signed-in person to their provider to sign in there again.
func (g *gateway) pageStepUpWith(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	if !s.Who.Federated {
		return contract.Refuse(contract.Forbidden, "You sign in with a password.")
	}
	return g.setOut(c, localPath(c.Query("for")), s)
}

func (g *gateway) setOut(c *fiber.Ctx, returnTo string, s session) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	to, token, err := g.federation.setOut(c.UserContext(), p, c.Params("provider"), returnTo, s)
	if err != nil {
		if contract.CodeOf(err) != contract.Unavailable {
			return err
		}
		e := web.ErrorFor(fiber.StatusServiceUnavailable, string(contract.Unavailable), requestID(c.UserContext()), 0)
		e.Text = web.ProviderDown
		return g.render(c, fiber.StatusServiceUnavailable, e)
	}
	g.setCookie(c, journeyCookie, token.Reveal())
	return c.Redirect(to, fiber.StatusSeeOther)
}

// stepUpAt is the provider where a federated person signs in again instead of giving a password; nil once they have,
// which is proved then, and for everybody else.
func (g *gateway) stepUpAt(c *fiber.Ctx, s session) (at *web.Provider, proved bool, err error) {
	if !s.Who.Federated {
		return nil, false, nil
	}
	p, err := g.portal(c.UserContext())
	if err != nil || p.standsIn() {
		return nil, false, err
	}
	if s.atProvider(g.now()) {
		return nil, true, nil
	}
	u, err := g.accounts.byID(c.UserContext(), s.account())
	if err != nil {
		return nil, false, err
	}
	back := c.OriginalURL()
	if c.Method() != fiber.MethodGet {
		// What the form held is lost on the way; the page that it belongs to is not.
		if back = home; strings.HasPrefix(c.Path(), "/admin") {
			back = "/admin"
		}
	}
	for _, v := range p.providerOrder() {
		if v.ID == u.Provider {
			return &web.Provider{Name: v.Name, URL: "/account/step-up/with/" + v.ID + "?" + url.Values{"for": {back}}.Encode()}, false, nil
		}
	}
	return nil, false, nil // theirs is gone: what they send is refused
}

// pageCallback is where providers send people back to. Whatever comes of it, the browser goes on to another page: the
// address with the code must not be one that can be loaded again.
func (g *gateway) pageCallback(c *fiber.Ctx) error {
	ctx := c.UserContext()
	p, err := g.portal(ctx)
	if err != nil {
		return err
	}
	a := answer{state: c.Query("state"), code: c.Query("code"), issuer: c.Query("iss"), failure: c.Query("error")}
	x, err := g.federation.comeBack(ctx, p, a, g.cookie(c, journeyCookie))
	if err == nil {
		err = g.arrived(c, p, x)
		if err == nil {
			return nil
		}
	}
	how := endedFailed
	var refusal *notArrived
	switch {
	case errors.As(err, &refusal):
		how = refusal.how
	case contract.CodeOf(err) == contract.Unavailable:
		how = endedDown
	}
	g.federation.ended.WithLabelValues(string(how)).Inc()
	g.svc.Log.Warn("federated sign-in refused", slog.String("request_id", requestID(ctx)), trace.Attr(ctx), slog.String("portal", p.ID),
		slog.String("provider", x.Provider), slog.String("outcome", string(how)), slog.String("why", brief(err)))
	if refusal == nil {
		return err
	}
	if how != endedUnknown {
		g.dropCookie(c, journeyCookie)
	}
	if x.Session != "" {
		// A step-up that failed leaves the person signed in. What it was for has not happened.
		e := web.ErrorFor(fiber.StatusForbidden, string(contract.StepUpRequired), requestID(ctx), 0)
		e.Title, e.Text, e.OnwardURL, e.OnwardText = web.ProviderStepUp, turnedBack[how], home, web.OnwardAccount
		return g.render(c, fiber.StatusForbidden, e)
	}
	q := url.Values{"refused": {string(how)}}
	if x.ReturnTo != "" {
		q.Set("return", x.ReturnTo)
	}
	return c.Redirect("/sign-in?"+q.Encode(), fiber.StatusSeeOther)
}

// arrived answers a journey that proved who the person is: with a session, or with a step-up of the one they have.
func (g *gateway) arrived(c *fiber.Ctx, p portal, x found) error {
	ctx := c.UserContext()
	if x.Session != "" {
		s, err := g.sessions.check(ctx, g.cookie(c, sessionCookie))
		if contract.CodeOf(err) == contract.Unauthenticated {
			return turnBack(endedUnknown, "the session that steps up has ended")
		}
		if err != nil {
			return err
		}
		if err := g.federation.stepUp(ctx, s, x); err != nil {
			return err
		}
		g.federation.ended.WithLabelValues(string(endedStepUp)).Inc()
		g.dropCookie(c, journeyCookie)
		return c.Redirect(orHome(x.ReturnTo), fiber.StatusSeeOther)
	}
	o, token, err := g.federation.signIn(ctx, p, x)
	if err != nil {
		return err
	}
	g.federation.ended.WithLabelValues(string(endedIn)).Inc()
	g.dropCookie(c, journeyCookie)
	g.setCookie(c, signInCookie, token.Reveal())
	return g.goOn(c, o)
}
