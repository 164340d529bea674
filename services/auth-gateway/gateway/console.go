package gateway

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// The pages of the admin console. They fill structs from what the desk says and carry forms to it; what an admin may
// do, the desk decides.

const consoleHome = "/admin"

// consoleNotices are what a page of the console says first, by the word in its address.
var consoleNotices = map[string]web.Text{
	"settings": web.SettingsSaved, "branding": web.BrandingSaved, "created": web.PersonCreated, "saved": web.PersonSaved, "deleted": web.PersonDeleted,
	string(web.AskReset): web.PersonReset, string(web.AskUnlock): web.PersonUnlocked, string(web.AskDisable): web.PersonDisabled,
	string(web.AskEnable): web.PersonEnabled, string(web.AskEndSessions): web.PersonSignedOut,
}

// notice is what the page says first.
func notice(c *fiber.Ctx) web.Text { return consoleNotices[c.Query("notice")] }

// withNotice sends the browser to a page of the console, with the word of a notice.
func withNotice(c *fiber.Ctx, path, word string) error {
	return c.Redirect(path+"?"+url.Values{"notice": {word}}.Encode(), fiber.StatusSeeOther)
}

// notYours explains why a page of the console is not for somebody, and who can help.
func (g *gateway) notYours(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s, err := g.sessions.check(ctx, g.cookie(c, sessionCookie))
	if err != nil {
		return err
	}
	page := web.NotYours{Text: web.ForAdmins}
	if isAdmin(s.Who) {
		page.Text, page.Back = web.ForMasterAdmins, consoleHome
	}
	// Without the names the page still says what there is to say.
	page.Admins, _ = g.accounts.masterNames(ctx, s.Portal, adminsNamed)
	return g.render(c, fiber.StatusForbidden, page)
}

// adminsNamed is how many admins a page names.
const adminsNamed = 5

// isAdmin tells whether somebody has a console.
func isAdmin(who profile) bool {
	return who.MasterAdmin || who.OrganizationAdmin && who.Organization != ""
}

// together runs what does not depend on each other, and returns the first error in order.
func together(work ...func() error) error {
	var group sync.WaitGroup
	errs := make([]error, len(work))
	for i, f := range work {
		group.Go(func() { errs[i] = f() })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// pageOverview is what is to be done, and how people stand.
func (g *gateway) pageOverview(c *fiber.Ctx) error {
	ctx := c.UserContext()
	s := sessionOf(ctx)
	page := web.Overview{Notice: notice(c)}
	if !s.Who.MasterAdmin {
		return g.overviewOfOrganization(c, s, page)
	}
	var (
		o    overview
		own  contract.Decision
		left int
		p    portal
	)
	err := together(
		func() (err error) { o, err = g.desk.overview(ctx, s); return err },
		func() (err error) { own, left, err = g.accountState(ctx, s); return err },
		func() (err error) { p, err = g.desk.brand(ctx, s); return err },
	)
	if err != nil {
		return err
	}
	internal := populationPage(web.InternalUsers, o)
	contacts := populationPage(web.Contacts, o)
	page.Populations = []web.Population{internal, contacts}
	if own.Standing == contract.NotEnrolled {
		page.Tasks = append(page.Tasks, web.Task{Text: web.TaskEnrollYourself, URL: home, Urgent: true})
	}
	for _, l := range page.Populations {
		if l.Locked > 0 {
			page.Tasks = append(page.Tasks, web.Task{Text: web.TaskLocked, Count: l.Locked, URL: l.URL(web.FilterLocked), Urgent: true})
		}
	}
	if p.AdminCount == 1 {
		page.Tasks = append(page.Tasks, web.Task{Text: web.TaskSecondAdmin, URL: "/admin/users?audience=internal"})
	}
	if own.Standing == contract.Enrolled && left == 0 {
		page.Tasks = append(page.Tasks, web.Task{Text: web.TaskRecoveryCodes, URL: home})
	}
	if internal.Mode == web.Off && contacts.Mode == web.Off {
		page.Tasks = append(page.Tasks, web.Task{Text: web.TaskSwitchOn, URL: "/admin/settings"})
	}
	if internal.WillEnroll > 0 {
		page.Tasks = append(page.Tasks, web.Task{Text: web.TaskWaiting, Count: internal.WillEnroll, URL: internal.URL(web.NotEnrolled)})
	}
	return g.render(c, fiber.StatusOK, page)
}

// overviewOfOrganization is the console's first page for the admin of one organization.
func (g *gateway) overviewOfOrganization(c *fiber.Ctx, s session, page web.Overview) error {
	ctx := c.UserContext()
	var locked peoplePage
	err := together(
		func() (err error) {
			locked, err = g.desk.people(ctx, s, listing{Audience: contract.Organization, Standing: standingLocked, Limit: 200})
			return err
		},
		func() (err error) { page.Admins, err = g.accounts.masterNames(ctx, s.Portal, adminsNamed); return err },
	)
	if err != nil {
		return err
	}
	if n := len(locked.Items); n > 0 {
		page.Tasks = []web.Task{{Text: web.TaskLocked, Count: web.Figure(n), URL: web.Population{Audience: web.Contacts}.URL(web.FilterLocked), Urgent: true}}
	}
	return g.render(c, fiber.StatusOK, page)
}

// populationPage is one population as the console shows it.
func populationPage(a web.Audience, o overview) web.Population {
	p, optOut := o.Internal, false
	if a == web.Contacts {
		p, optOut = o.Organizations, o.Settings.Organizations.AllowOptOut
	}
	return web.Population{
		Audience: a, Mode: web.Mode(p.Mode), AllowOptOut: optOut, Users: web.Figure(p.Users), Enrolled: web.Figure(p.Enrolled), Skipped: web.Figure(p.Skipped),
		WillEnroll: web.Figure(p.WillEnroll), Locked: web.Figure(p.Locked), Federated: web.Figure(p.Federated), Disabled: web.Figure(p.Disabled),
	}
}

// refused tells what a form says of an error: the error with its words, or nil for one that has a page of its own.
func refused(err error) *contract.Error {
	e := contract.AsError(err)
	switch e.Code { //nolint:exhaustive // every other refusal is the form's to explain
	case contract.Unavailable, contract.InternalError, contract.Unauthenticated, contract.NotFound:
		return nil
	}
	return e
}

// prove takes password and code of a form, unless they were proved a moment ago; the session it returns says so.
func (g *gateway) prove(c *fiber.Ctx, s session, done bool) (session, error) {
	if done {
		return s, nil
	}
	return g.stepUp(c.UserContext(), s, formSecret(c, "password"), formSecret(c, "code"))
}

// sendProof texts a code to an admin whose codes come by text message; a refusal is said beside the code.
func (g *gateway) sendProof(c *fiber.Ctx, s session) (session, *contract.Error, error) {
	_, err := g.stepUpSend(c.UserContext(), s)
	if err != nil {
		if e := refused(err); e != nil {
			return s, e, nil
		}
		return s, nil, err
	}
	now, err := g.sessions.check(c.UserContext(), g.cookie(c, sessionCookie))
	return now, nil, err
}

// proofFields are the fields of password and code on a form, with what was wrong with them.
func (g *gateway) proofFields(c *fiber.Ctx, e *contract.Error) (web.StepUpFields, error) {
	s := sessionOf(c.UserContext())
	d, err := g.flow.decide(c.UserContext(), s.Portal, s.Who)
	if err != nil {
		return web.StepUpFields{}, err
	}
	_, none := livingOf(d, s.Who.Audience)
	return g.stepUpFields(c, s, none == nil, e)
}

// naming is how many names a page looks up at once.
const naming = 8

// names finds the names of people by id. Who is gone has none.
func (g *gateway) names(ctx context.Context, portalID string, ids []string) map[string]string {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		slots = make(chan struct{}, naming)
		out   = make(map[string]string)
		asked = make(map[string]bool)
	)
	for _, id := range ids {
		if id == "" || asked[id] {
			continue
		}
		asked[id] = true
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if u, err := g.accounts.byID(ctx, contract.Account{Portal: portalID, User: id}); err == nil {
				mu.Lock()
				defer mu.Unlock()
				if out[id] = u.Name; u.Name == "" {
					out[id] = u.Email
				}
			}
		})
	}
	group.Wait()
	return out
}

// named is a person as an event shows them.
func named(names map[string]string, id string) web.Named {
	name, known := names[id]
	return web.Named{ID: id, Name: name, Gone: !known}
}

// momentOf is a time that may be absent.
func momentOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// settingsOf reads a portal's settings; who shows a list can do without them.
func (g *gateway) settingsOf(ctx context.Context, portalID string) contract.Settings {
	set, err := bus.Request(ctx, g.svc.Bus, contract.PolicySettings, contract.SettingsRequest{Portal: portalID})
	if err != nil {
		return contract.Settings{}
	}
	return set
}

// keepSession makes the rest of a request see a session as it is now.
func keepSession(c *fiber.Ctx, s session) {
	c.SetUserContext(context.WithValue(c.UserContext(), sessionKey{}, s))
}
