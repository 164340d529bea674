package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/trace"
	"sallyport/services/auth-gateway/web"
)

const (
	// maxBody bounds a request's body.
	maxBody = 16 << 10
	// patience bounds the work for one request: a queued password hash included.
	patience = 12 * time.Second

	contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

// alwaysSet are the headers of every answer, ready for the wire.
var alwaysSet = [][2][]byte{
	{[]byte("Content-Security-Policy"), []byte(contentSecurityPolicy)},
	{[]byte("X-Content-Type-Options"), []byte("nosniff")},
	{[]byte("Referrer-Policy"), []byte("no-referrer")},
	{[]byte("Cross-Origin-Opener-Policy"), []byte("same-origin")},
	{[]byte("Cross-Origin-Resource-Policy"), []byte("same-origin")},
	{[]byte("Permissions-Policy"), []byte("camera=(), geolocation=(), microphone=()")},
	{[]byte("Cache-Control"), []byte("no-store")},
}

// frameRequest gives every request an id, and its answer the headers that all have.
func (g *gateway) frameRequest(c *fiber.Ctx) error {
	ctx := bus.WithRequestID(context.Background(), g.setHeaders(c))
	ctx = context.WithValue(ctx, callerKey{}, callerOf(c, g.proxies))
	c.SetUserContext(context.WithValue(ctx, hostKey{}, c.Hostname()))
	if !oneRequest(c) {
		c.Context().SetConnectionClose() // what follows on this connection may be the rest of it
		return fiber.ErrBadRequest
	}
	plainMediaType(&c.Request().Header)
	if g.leaving.Load() {
		c.Context().SetConnectionClose() // what follows belongs to another gateway
	}
	return c.Next()
}

// setHeaders sets what every answer carries, and returns the request's new id.
func (g *gateway) setHeaders(c *fiber.Ctx) string {
	id := bus.NewID()
	h := &c.Response().Header
	for _, kv := range alwaysSet {
		h.SetCanonical(kv[0], kv[1])
	}
	h.Set("X-Request-Id", id)
	if g.secure {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
	return id
}

// plainMediaType writes the media type of a body in small letters: their size means nothing (RFC 9110 §8.3.1), and who
// reads bodies behind this compares it as it stands. Its parameters stay as they are.
func plainMediaType(h *fasthttp.RequestHeader) {
	sent := h.ContentType()
	kind, _, _ := bytes.Cut(sent, []byte(";"))
	if bytes.ContainsFunc(kind, func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		h.SetContentTypeBytes(append(bytes.ToLower(kind), sent[len(kind):]...))
	}
}

func requestID(ctx context.Context) string { return bus.RequestID(ctx) }

// answerError answers what no handler did: unknown routes, oversized bodies, and errors of pages.
func (g *gateway) answerError(c *fiber.Ctx, err error) error {
	p := problemOf(err)
	var f *fiber.Error
	if errors.As(err, &f) {
		p = routeProblem(f)
	}
	if p.RequestID = requestID(c.UserContext()); p.RequestID == "" {
		p.RequestID = g.setHeaders(c) // the server refused it before it was framed: too large, or no HTTP
	}
	if p.Code == string(contract.InternalError) {
		g.svc.Log.Error("request failed", slog.String("request_id", p.RequestID), trace.Attr(c.UserContext()), slog.Any("error", err))
	}
	for k, v := range p.GetHeaders() {
		c.Set(k, v[0])
	}
	c.Status(p.Status)
	if strings.HasPrefix(c.Path(), "/v1/") || c.Path() == "/v1" || c.Path() == "/openapi.json" {
		return c.JSON(p, p.ContentType(""))
	}
	e := web.ErrorFor(p.Status, p.Code, p.RequestID, time.Duration(p.RetryAfter)*time.Second)
	return g.render(c, p.Status, e)
}

// routeProblem is what the router itself refuses.
func routeProblem(f *fiber.Error) *Problem {
	p := &Problem{Type: "about:blank", Title: http.StatusText(f.Code), Status: f.Code, Code: string(contract.InvalidRequest), Detail: "The request is not valid."}
	switch f.Code {
	case http.StatusNotFound:
		p.Code, p.Detail = string(contract.NotFound), "There is nothing at this address."
	case http.StatusMethodNotAllowed:
		p.Detail = "This address does not take that method."
	case http.StatusRequestEntityTooLarge:
		p.Detail = "The request is too large."
	case http.StatusInternalServerError:
		p.Code, p.Detail = string(contract.InternalError), "Something went wrong on our side."
	}
	return p
}

// cookieName gives a cookie the __Host- prefix on https: then no other host and no plain connection can set it.
func (g *gateway) cookieName(name string) string {
	if g.secure {
		return "__Host-sallyport_" + name
	}
	return "sallyport_" + name
}

// The three cookies. Each is for this browser session, unreadable by scripts.
const (
	signInCookie  = "sign_in"
	sessionCookie = "session"
	formCookie    = "form"
)

func (g *gateway) cookie(c *fiber.Ctx, name string) string { return c.Cookies(g.cookieName(name)) }

func (g *gateway) setCookie(c *fiber.Ctx, name, value string) {
	c.Cookie(&fiber.Cookie{Name: g.cookieName(name), Value: value, Path: "/", HTTPOnly: true, Secure: g.secure, SameSite: fiber.CookieSameSiteLaxMode, SessionOnly: true})
}

func (g *gateway) dropCookie(c *fiber.Ctx, name string) {
	c.Cookie(&fiber.Cookie{Name: g.cookieName(name), Value: "", Path: "/", HTTPOnly: true, Secure: g.secure, SameSite: fiber.CookieSameSiteLaxMode, Expires: time.Unix(1, 0)})
}

// formToken is the token that every form carries: the value of a cookie that only this origin can read and set.
func (g *gateway) formToken(c *fiber.Ctx) string {
	if t := g.cookie(c, formCookie); isID(t) {
		return t
	}
	if t, ok := c.Locals("form").(string); ok {
		return t
	}
	t := rand.Text()
	c.Locals("form", t)
	g.setCookie(c, formCookie, t)
	return t
}

// staleForm answers a form without the right token. As a rule its page was open for longer than its cookie lived.
func (g *gateway) staleForm(c *fiber.Ctx) error {
	if c.Path() == "/sign-in" {
		return g.render(c, fiber.StatusForbidden, web.SignIn{Email: c.FormValue("email"), Return: localPath(c.FormValue("return")), Error: web.FormExpired})
	}
	e := web.ErrorFor(fiber.StatusForbidden, string(contract.Forbidden), requestID(c.UserContext()), 0)
	e.Title, e.Text = web.GoneTitle, web.FormExpired
	e.OnwardURL, e.OnwardText = "/sign-in", web.OnwardSignIn
	return g.render(c, fiber.StatusForbidden, e)
}

// sameOrigin tells whether a request that changes something comes from a page of ours, by what browsers say of it.
func (g *gateway) sameOrigin(c *fiber.Ctx) bool {
	switch c.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		// An old browser, or none at all: the Origin decides, if there is one.
	default:
		return false
	}
	origin := c.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || g.secure && u.Scheme != "https" { // a page that came in clear may be anybody's
		return false
	}
	return u.Host == c.Hostname() || strings.EqualFold(strings.TrimSuffix(g.settings.PublicURL, "/"), origin)
}

// guardPage puts a guard and, for forms, the checks against forgery before a page.
func (g *gateway) guardPage(who guard, h fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if c.Method() == fiber.MethodPost {
			sent, held := field(c, "csrf"), g.cookie(c, formCookie)
			if !g.sameOrigin(c) || !isID(held) || subtle.ConstantTimeCompare([]byte(sent), []byte(held)) != 1 {
				return g.staleForm(c)
			}
		}
		ctx, cancel := context.WithTimeout(c.UserContext(), patience)
		defer cancel()
		s, err := g.admit(ctx, who, g.cookie(c, sessionCookie))
		if contract.CodeOf(err) == contract.Unauthenticated && err != nil {
			return g.toSignIn(c, "first", c.OriginalURL())
		}
		c.SetUserContext(ctx)
		if contract.CodeOf(err) == contract.Forbidden && err != nil && (who.admin || who.anyAdmin) {
			return g.notYours(c)
		}
		if err != nil {
			return err
		}
		c.SetUserContext(context.WithValue(ctx, sessionKey{}, s))
		return h(c)
	}
}

// notices are what the sign-in page may say first, by the word in its address.
var notices = map[string]web.Text{
	"to-enroll":  web.SignedOutToEnroll,
	"signed-out": web.SignedOut, "confirmed": web.NumberConfirmed, "expired": web.SignInExpired,
	"password-set": web.PasswordIsSet, "first": web.SignInFirst, "cancelled": web.SignInCancelled,
}

// toSignIn sends the browser to the sign-in page, with a notice and the page to come back to.
func (g *gateway) toSignIn(c *fiber.Ctx, notice, returnTo string) error {
	q := url.Values{}
	if notice != "" {
		q.Set("notice", notice)
	}
	if returnTo = localPath(returnTo); returnTo != "" && returnTo != "/" && c.Method() == fiber.MethodGet || notice == "confirmed" && returnTo != "" {
		q.Set("return", returnTo)
	}
	to := "/sign-in"
	if len(q) > 0 {
		to += "?" + q.Encode()
	}
	return c.Redirect(to, fiber.StatusSeeOther)
}

// localPath returns p if it is a path on this origin, as browsers read it (WHATWG URL), otherwise "". A backslash is
// a slash to them, and tabs and line breaks are nothing; what has either is refused, and so is everything that could
// name another host.
func localPath(p string) string {
	if len(p) == 0 || len(p) > 1024 || p[0] != '/' || len(p) > 1 && (p[1] == '/' || p[1] == '\\') {
		return ""
	}
	for _, r := range p {
		if r < 0x21 || r == 0x7f || r == '\\' || r > 0x7e {
			return ""
		}
	}
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, "\\") {
		return ""
	}
	return p
}

// brandOf is a portal's look.
func brandOf(p portal) web.Brand {
	return web.Brand{
		Name: p.Name, Accent: p.Accent, SupportEmail: p.SupportEmail, SupportURL: p.SupportURL, HelpText: p.HelpText,
		RequestAccountURL: p.RequestAccountURL, ResetLoginURL: p.ResetLoginURL,
		LogoURL: logoURL("/brand/logo", p.Logo), LogoDarkURL: logoURL("/brand/logo-dark", p.LogoDark),
	}
}

// render answers with a page.
func (g *gateway) render(c *fiber.Ctx, status int, p web.Page) error {
	f := web.Frame{CSRF: g.formToken(c), Lang: "en", Now: g.now()}
	if portal, err := g.portal(c.UserContext()); err == nil {
		f.Brand = brandOf(portal)
		if s, ok := p.(web.SignIn); ok {
			s.Providers = buttons(portal, s.Return)
			p = s
		}
	} else {
		f.Brand = web.Brand{Name: "Sallyport"}
	}
	s := sessionOf(c.UserContext())
	if s.ID == "" {
		// An error page may be shown to somebody who is signed in.
		s, _ = g.sessions.check(c.UserContext(), g.cookie(c, sessionCookie))
	}
	if s.ID != "" {
		f.User = &web.Person{Name: s.Who.Name, Email: s.Who.Email, CanAdmin: isAdmin(s.Who), CanEnableSMS: s.CanEnable}
		if f.User.CanAdmin && !s.Who.MasterAdmin {
			f.User.AdminOf = s.Who.Organization
		}
	}
	c.Status(status).Set(fiber.HeaderContentType, "text/html; charset=utf-8")
	return web.Render(c.Response().BodyWriter(), f, p)
}

// field reads a field of a form's body. Fiber's own way looks into the address first, where no token or code belongs.
func field(c *fiber.Ctx, name string) string {
	if form, err := c.Request().MultipartForm(); err == nil { // a form with a file
		if values := form.Value[name]; len(values) > 0 {
			return values[0]
		}
		return ""
	}
	return string(c.Request().PostArgs().Peek(name))
}

// formSecret reads a secret field of a form.
func formSecret(c *fiber.Ctx, name string) secret.String { return secret.New(field(c, name)) }
