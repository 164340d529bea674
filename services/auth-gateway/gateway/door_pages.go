package gateway

import (
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

const (
	// doorPath is where a portal sends its people to, with their ticket.
	doorPath = "/sign-in/door"
	// backPath is where they leave us for the portal again.
	backPath = "/sign-in/back"
)

// onward is the page after a sign-in that is complete.
func (s signIn) onward() string {
	if s.leadsBack() {
		return backPath
	}
	return orHome(s.ReturnTo)
}

// pageDoor is where the browser arrives with its ticket. It spends nothing: whoever only looks at links (a mail scanner,
// a browser that reads ahead) sends no form. The script sends it at once; without one, the person presses the button.
func (g *gateway) pageDoor(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	ticket := c.Params("ticket")
	if _, _, err := g.door.ticketed(c.UserContext(), p, ticket); err != nil {
		return g.ticketOver(c, err)
	}
	return g.render(c, fiber.StatusOK, web.Door{Ticket: ticket})
}

func (g *gateway) postDoor(c *fiber.Ctx) error {
	p, err := g.portal(c.UserContext())
	if err != nil {
		return err
	}
	o, token, err := g.door.enter(c.UserContext(), p, field(c, "ticket"))
	if err != nil {
		return g.ticketOver(c, err)
	}
	g.setCookie(c, signInCookie, token.Reveal())
	return g.goOn(c, o)
}

// ticketOver says that a ticket does not open the door any more. Where to go next only the portal knows.
func (g *gateway) ticketOver(c *fiber.Ctx, err error) error {
	if contract.CodeOf(err) != contract.Expired {
		return err
	}
	e := web.ErrorFor(fiber.StatusGone, string(contract.Expired), requestID(c.UserContext()), 0)
	e.Text, e.OnwardURL = web.TicketOver, ""
	return g.render(c, fiber.StatusGone, e)
}

// pageBack sends the browser back to its portal. It is a page and no redirect: browsers let a form lead, by whatever way,
// to no other origin than its page's policy names, and it is a form that most people come here from.
func (g *gateway) pageBack(c *fiber.Ctx) error {
	token := g.cookie(c, signInCookie)
	s, _, err := g.flow.load(c.UserContext(), "", token)
	switch code := contract.CodeOf(err); {
	case err != nil && code != contract.Unauthenticated && code != contract.NotFound:
		return err
	case err != nil || !s.leadsBack():
		return g.toSignIn(c, "", "")
	}
	to := s.back(g.now(), token)
	g.dropCookie(c, signInCookie)
	c.Set("Refresh", "0; url="+to)
	return g.render(c, fiber.StatusOK, web.Back{URL: to, Complete: s.Status == StatusComplete})
}
