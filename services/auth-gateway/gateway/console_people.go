package gateway

import (
	"cmp"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// rowOf is a person as lists show them.
func rowOf(p card, set contract.Settings) web.PersonRow {
	row := web.PersonRow{
		ID: p.User, Name: p.Name, Email: p.Email, Audience: web.Audience(p.Audience), Organization: p.Organization,
		MasterAdmin: p.MasterAdmin, OrganizationAdmin: p.OrganizationAdmin, Federated: p.Federated, Disabled: p.Disabled,
		NoPassword: p.Password == "" && !p.Federated, Standing: web.Standing(p.Standing),
		LockedUntil: momentOf(p.LockedUntil), FactorDisabled: p.Closed, LastSignIn: momentOf(p.LastSignInAt),
	}
	if p.Factor != nil {
		row.Factor, row.Since = web.Factor(p.Factor.Factor), p.Factor.Since
	}
	mode := set.Internal.Mode
	if p.Audience == contract.Organization {
		mode = set.Organizations.Mode
	}
	row.Must = mode == contract.ModeRequired
	return row
}

// pagePeople is a list of internal users or contacts.
func (g *gateway) pagePeople(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	page := web.People{
		Notice: notice(c), Audience: web.Audience(c.Query("audience")), Organization: c.Query("organization"),
		Query: c.Query("query"), Standing: web.Standing(c.Query("standing")), Cursor: c.Query("cursor"), CanAdd: s.Who.MasterAdmin,
	}
	if page.Audience != web.Contacts {
		page.Audience = web.InternalUsers
	}
	if !s.Who.MasterAdmin {
		page.Audience, page.Organization = web.Contacts, s.Who.Organization
	}
	if page.Audience == web.InternalUsers {
		page.Organization = ""
	}
	var (
		found peoplePage
		set   contract.Settings
		o     *overview
	)
	err := together(
		func() (err error) {
			found, err = g.desk.people(ctx, s, listing{
				Query: page.Query, Audience: contract.Audience(page.Audience), Organization: page.Organization, Standing: string(page.Standing), Cursor: page.Cursor,
			})
			return err
		},
		func() error {
			// The figures belong to the whole population; a part of it comes without.
			if s.Who.MasterAdmin && page.Organization == "" && page.Cursor == "" && !page.Filtered() {
				all, err := g.desk.overview(ctx, s)
				o, set = &all, all.Settings
				return err
			}
			set = g.settingsOf(ctx, s.Portal)
			return nil
		},
	)
	if err != nil {
		return err
	}
	if o != nil {
		p := populationPage(page.Audience, *o)
		page.Population = &p
	}
	page.Next = found.Next
	for _, p := range found.Items {
		page.Items = append(page.Items, rowOf(p, set))
	}
	return g.render(c, fiber.StatusOK, page)
}

// pageOrganizations is the list of client companies.
func (g *gateway) pageOrganizations(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	page := web.Organizations{Query: c.Query("query"), Cursor: c.Query("cursor")}
	var (
		found organizationsPage
		o     overview
		first = page.Query == "" && page.Cursor == ""
	)
	err := together(
		func() (err error) { found, err = g.desk.organizations(ctx, s, page.Query, page.Cursor, 0); return err },
		func() (err error) {
			if first {
				o, err = g.desk.overview(ctx, s)
			}
			return err
		},
	)
	if err != nil {
		return err
	}
	if first {
		p := populationPage(web.Contacts, o)
		page.Population = &p
	}
	page.Next = found.Next
	for _, i := range found.Items {
		page.Items = append(page.Items, web.OrganizationRow{Name: i.Name, Contacts: web.Figure(i.Contacts)})
	}
	return g.render(c, fiber.StatusOK, page)
}

// deedOf is a permit as a page shows it.
func deedOf(p permit) web.Deed { return web.Deed{Can: p.Allowed, WhyNot: web.Text(p.Why)} }

// pagePerson is all there is to know of one person.
func (g *gateway) pagePerson(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	d, err := g.desk.person(ctx, s, c.Params("id"))
	if err != nil {
		return g.noPerson(c, s, err)
	}
	page := web.PersonPage{
		Notice: notice(c), Person: rowOf(d.card, contract.Settings{}), Next: string(d.Decision.Action), CanSkip: d.Decision.CanSkip, Partial: len(d.Missing) > 0,
		RecoveryLeft: d.CodesLeft, ShowRecovery: d.Factor != nil,
		Reset: deedOf(d.May.Reset), Unlock: deedOf(d.May.Unlock), EndSessions: deedOf(d.May.EndSessions), Edit: deedOf(d.May.Amend),
	}
	page.Person.Must = d.Decision.Mode == contract.ModeRequired
	if d.Factor != nil {
		page.Label = d.Factor.Label
	}
	if d.Recovery != nil {
		page.RecoveryLock = momentOf(d.Recovery.Until)
	}
	if s.Who.MasterAdmin {
		page.Link, page.Delete = deedOf(d.May.Link), deedOf(d.May.Delete)
		if d.Disabled {
			page.Enable = deedOf(d.May.Disable)
		} else {
			page.Disable = deedOf(d.May.Disable)
		}
	}
	for _, i := range d.Sessions {
		row := web.SessionRow{Device: i.Device, SignedIn: i.AuthTime, Seen: i.SeenAt}
		for _, m := range i.Methods {
			row.Methods = append(row.Methods, web.Method(m))
		}
		page.Sessions = append(page.Sessions, row)
	}
	const texts, events = 5, 10
	for _, i := range d.Deliveries[:min(texts, len(d.Deliveries))] {
		page.Deliveries = append(page.Deliveries, deliveryRow(i, nil))
		page.Destination = cmp.Or(page.Destination, i.Destination)
	}
	for _, i := range d.History[:min(events, len(d.History))] {
		page.History = append(page.History, auditRow(i, d.Names))
	}
	page.MoreTexts, page.MoreEvents = len(d.Deliveries) > texts, len(d.History) > events
	return g.render(c, fiber.StatusOK, page)
}

// noPerson answers for a person who is not there, or not this admin's to see: they cannot tell which.
func (g *gateway) noPerson(c *fiber.Ctx, s session, err error) error {
	if contract.CodeOf(err) != contract.NotFound || s.Who.MasterAdmin {
		return err
	}
	page := web.NotYours{Text: web.ForOther, Back: consoleHome}
	page.Admins, _ = g.accounts.masterNames(c.UserContext(), s.Portal, adminsNamed)
	return g.render(c, fiber.StatusNotFound, page)
}

// asks are what may be done to a person, by the last word of the page's address.
var asks = map[web.Ask]func(permits) permit{
	web.AskReset: func(p permits) permit { return p.Reset }, web.AskUnlock: func(p permits) permit { return p.Unlock },
	web.AskEndSessions: func(p permits) permit { return p.EndSessions }, web.AskDisable: func(p permits) permit { return p.Disable },
	web.AskEnable: func(p permits) permit { return p.Disable }, web.AskDelete: func(p permits) permit { return p.Delete },
	web.AskPasswordLink: func(p permits) permit { return p.Link },
}

// confirming begins the page that asks before something is done to a person.
func (g *gateway) confirming(c *fiber.Ctx) (page web.Confirm, d dossier, may permit, err error) {
	ctx := c.UserContext()
	page.Ask = web.Ask(c.Params("ask"))
	permitOf, ok := asks[page.Ask]
	if !ok {
		return page, d, may, fiber.ErrNotFound
	}
	if d, err = g.desk.person(ctx, sessionOf(ctx), c.Params("id")); err != nil {
		return page, d, may, err
	}
	may = permitOf(d.May)
	page.ID, page.Name, page.Email, page.Audience = d.User, d.Name, d.Email, web.Audience(d.Audience)
	page.Reason, page.Typed = field(c, "reason"), field(c, "typed")
	page.StepUpNeeded = may.StepUp
	return page, d, may, nil
}

// pageAsk says what will happen, before it does.
func (g *gateway) pageAsk(c *fiber.Ctx) error {
	page, _, may, err := g.confirming(c)
	if err != nil {
		return g.noPerson(c, sessionOf(c.UserContext()), err)
	}
	if !may.Allowed {
		return c.Redirect(personPath(page.ID), fiber.StatusSeeOther) // where the reason stands
	}
	return g.showAsk(c, fiber.StatusOK, page, nil)
}

func personPath(id string) string { return "/admin/users/" + url.PathEscape(id) }

func (g *gateway) showAsk(c *fiber.Ctx, status int, page web.Confirm, proof *contract.Error) error {
	if page.StepUpNeeded {
		var err error
		if page.StepUp, err = g.proofFields(c, proof); err != nil {
			return err
		}
	}
	return g.render(c, status, page)
}

// postAsk does it.
func (g *gateway) postAsk(c *fiber.Ctx) error {
	s := sessionOf(c.UserContext())
	page, d, may, err := g.confirming(c)
	if err != nil {
		return g.noPerson(c, s, err)
	}
	if !may.Allowed {
		page.Refused = web.Text(may.Why)
		return g.showAsk(c, fiber.StatusForbidden, page, nil)
	}
	if field(c, "send") != "" {
		return g.sendAndShow(c, s, func(e *contract.Error) error { return g.showAsk(c, fiber.StatusOK, page, e) })
	}
	if page.NeedsReason() && page.Reason == "" {
		page.ReasonError = web.ReasonMissing
	}
	if typed, _ := canonicalEmail(page.Typed); page.Ask == web.AskDelete && typed != d.Email {
		page.TypedError = web.TypedWrong
	}
	if page.ReasonError != "" || page.TypedError != "" {
		return g.showAsk(c, fiber.StatusUnprocessableEntity, page, nil)
	}
	if s, err = g.prove(c, s, !may.StepUp); err != nil {
		if e := refused(err); e != nil {
			return g.showAsk(c, refusalStatus(e), page, e)
		}
		return err
	}
	answer, err := g.perform(c, s, page)
	if err == nil {
		return answer()
	}
	e := refused(err)
	if e == nil {
		return err
	}
	page.Refused = web.Text(e.Detail)
	if e.Field == "reason" {
		page.Refused, page.ReasonError = "", web.Text(e.Detail)
	}
	page.StepUpNeeded = e.Code == contract.StepUpRequired
	return g.showAsk(c, refusalStatus(e), page, nil)
}

// sendAndShow texts a code to the acting admin, and shows the form again.
func (g *gateway) sendAndShow(c *fiber.Ctx, s session, show func(*contract.Error) error) error {
	now, e, err := g.sendProof(c, s)
	if err != nil {
		return err
	}
	keepSession(c, now)
	return show(e)
}

// perform does what the page asked for, and returns how to answer.
func (g *gateway) perform(c *fiber.Ctx, s session, page web.Confirm) (func() error, error) {
	ctx := c.UserContext()
	var (
		err error
		to  = personPath(page.ID)
		yes = page.Ask == web.AskDisable
	)
	switch page.Ask {
	case web.AskReset:
		err = g.desk.reset(ctx, s, page.ID, page.Reason)
	case web.AskUnlock:
		err = g.desk.unlock(ctx, s, page.ID, page.Reason)
	case web.AskEndSessions:
		err = g.desk.endSessions(ctx, s, page.ID, page.Reason)
	case web.AskDisable, web.AskEnable:
		_, err = g.desk.amend(ctx, s, page.ID, amendment{Disabled: &yes, Reason: page.Reason})
	case web.AskDelete:
		if err = g.desk.remove(ctx, s, page.ID, page.Reason); err == nil {
			return func() error { return withNotice(c, consoleHome, "deleted") }, nil
		}
	case web.AskPasswordLink:
		l, err := g.desk.link(ctx, s, page.ID)
		return func() error {
			return g.render(c, fiber.StatusOK, web.PasswordLink{Audience: page.Audience, ID: page.ID, Name: page.Name, Email: page.Email, URL: l.URL.Reveal(), Until: l.ExpiresAt})
		}, err
	}
	return func() error { return withNotice(c, to, string(page.Ask)) }, err
}
