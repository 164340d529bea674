package gateway

import (
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// pageNewPerson is the form of a new account.
func (g *gateway) pageNewPerson(c *fiber.Ctx) error {
	page := web.PersonForm{Audience: web.Audience(c.Query("audience")), Organization: c.Query("organization")}
	if page.Audience != web.Contacts {
		page.Audience, page.Organization = web.InternalUsers, ""
	}
	return g.render(c, fiber.StatusOK, page)
}

// typedPerson is the form as it was sent, for somebody of an audience.
func typedPerson(c *fiber.Ctx, a web.Audience) web.PersonForm {
	page := web.PersonForm{
		Audience: a, Name: field(c, "name"), Email: field(c, "email"), Organization: field(c, "organization"),
		MasterAdmin: field(c, "master_admin") != "", OrganizationAdmin: field(c, "organization_admin") != "", Federated: field(c, "federated") != "",
	}
	if page.Audience != web.Contacts {
		page.Audience, page.Organization, page.OrganizationAdmin = web.InternalUsers, "", false
	} else {
		page.MasterAdmin = false
	}
	return page
}

// checkPerson finds what is missing, before anybody is asked.
func checkPerson(page *web.PersonForm) bool {
	if page.Name == "" {
		page.NameError = web.NameMissing
	}
	if _, ok := canonicalEmail(page.Email); !ok {
		page.EmailError = web.EmailInvalid
	}
	if page.Audience == web.Contacts && page.Organization == "" {
		page.OrganizationError = web.OrganizationMissing
	}
	return !page.Wrong()
}

// explainPerson puts a refusal of the desk where it belongs on the form.
func explainPerson(page *web.PersonForm, e *contract.Error) {
	switch e.Field {
	case "name":
		page.NameError = web.Text(e.Detail)
	case "email":
		page.EmailError = web.Text(e.Detail)
		if e.Code == contract.Conflict {
			page.EmailError = web.EmailTaken
		}
	case "organization":
		page.OrganizationError = web.Text(e.Detail)
	default:
		page.Refused = web.Text(e.Detail)
	}
}

func (g *gateway) showPerson(c *fiber.Ctx, status int, page web.PersonForm, proof *contract.Error) error {
	if page.StepUpNeeded {
		var err error
		if page.StepUp, err = g.proofFields(c, proof); err != nil {
			return err
		}
	}
	return g.render(c, status, page)
}

// savePerson takes a form that grants rights or not through its proof, and has save do the rest.
func (g *gateway) savePerson(c *fiber.Ctx, page web.PersonForm, grants bool, save func(session) (func() error, error)) error {
	s := sessionOf(c.UserContext())
	page.StepUpNeeded = grants && !s.fresh(g.now())
	if field(c, "send") != "" {
		return g.sendAndShow(c, s, func(e *contract.Error) error { return g.showPerson(c, fiber.StatusOK, page, e) })
	}
	if !checkPerson(&page) {
		return g.showPerson(c, fiber.StatusUnprocessableEntity, page, nil)
	}
	if page.StepUpNeeded {
		if formSecret(c, "password").Empty() && formSecret(c, "code").Empty() {
			page.Refused = web.WhyRights // the fields were not on the form yet
			return g.showPerson(c, fiber.StatusForbidden, page, nil)
		}
		var err error
		if s, err = g.prove(c, s, false); err != nil {
			if e := refused(err); e != nil {
				return g.showPerson(c, refusalStatus(e), page, e)
			}
			return err
		}
	}
	answer, err := save(s)
	if err == nil {
		return answer()
	}
	e := refused(err)
	if e == nil {
		return err
	}
	explainPerson(&page, e)
	page.StepUpNeeded = e.Code == contract.StepUpRequired
	return g.showPerson(c, refusalStatus(e), page, nil)
}

// postNewPerson makes the account, and shows the link with which the person chooses a password.
func (g *gateway) postNewPerson(c *fiber.Ctx) error {
	page := typedPerson(c, web.Audience(field(c, "audience")))
	return g.savePerson(c, page, page.MasterAdmin || page.OrganizationAdmin, func(s session) (func() error, error) {
		u, l, err := g.desk.create(c.UserContext(), s, newPerson{
			Email: page.Email, Name: page.Name, Audience: contract.Audience(page.Audience), Organization: page.Organization,
			MasterAdmin: page.MasterAdmin, OrganizationAdmin: page.OrganizationAdmin, Federated: page.Federated,
		})
		return func() error {
			if l == nil {
				return withNotice(c, personPath(u.User), "created")
			}
			return g.render(c, fiber.StatusCreated, web.PasswordLink{Audience: page.Audience, ID: u.User, Name: u.Name, Email: u.Email, URL: l.URL.Reveal(), Until: l.ExpiresAt, Created: true})
		}, err
	})
}

// pageEditPerson is the form of an account that is there.
func (g *gateway) pageEditPerson(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	d, err := g.desk.person(ctx, s, c.Params("id"))
	if err != nil {
		return g.noPerson(c, s, err)
	}
	if !d.May.Amend.Allowed {
		return c.Redirect(personPath(d.User), fiber.StatusSeeOther)
	}
	return g.render(c, fiber.StatusOK, editForm(d, web.PersonForm{
		Audience: web.Audience(d.Audience), Name: d.Name, Email: d.Email, Organization: d.Organization,
		MasterAdmin: d.MasterAdmin, OrganizationAdmin: d.OrganizationAdmin,
	}))
}

// editForm adds to a form what the account itself says.
func editForm(d dossier, page web.PersonForm) web.PersonForm {
	page.ID, page.Known, page.Audience, page.Federated = d.User, d.Name, web.Audience(d.Audience), d.Federated
	if page.Known == "" {
		page.Known = d.Email
	}
	if !d.May.Grant.Allowed {
		page.RightsWhyNot = web.Text(d.May.Grant.Why)
	}
	return page
}

// postEditPerson saves what was changed.
func (g *gateway) postEditPerson(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	d, err := g.desk.person(ctx, s, c.Params("id"))
	if err != nil {
		return g.noPerson(c, s, err)
	}
	page := editForm(d, typedPerson(c, web.Audience(d.Audience)))
	is := d.user
	is.Email, is.Organization, is.MasterAdmin, is.OrganizationAdmin = page.Email, page.Organization, page.MasterAdmin, page.OrganizationAdmin
	if address, ok := canonicalEmail(page.Email); ok {
		is.Email = address
	}
	if d.Audience == contract.Internal {
		is.Organization = d.Organization
	}
	return g.savePerson(c, page, is.weighs(d.user), func(s session) (func() error, error) {
		m := amendment{Name: &page.Name, Email: &page.Email}
		if d.Audience == contract.Organization {
			m.Organization = &page.Organization
		}
		if page.RightsWhyNot == "" {
			m.MasterAdmin, m.OrganizationAdmin = &page.MasterAdmin, &page.OrganizationAdmin
		}
		_, err := g.desk.amend(ctx, s, d.User, m)
		return func() error { return withNotice(c, personPath(d.User), "saved") }, err
	})
}
