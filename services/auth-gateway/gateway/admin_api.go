package gateway

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
)

// routeAdmin is what admins do by the JSON API. What a guard lets through, the desk still looks at: an organization's
// admin sees that organization only.
func (g *gateway) routeAdmin(_ *fiber.App, api huma.API) {
	const admin = "Administration"
	var (
		conflict = []contract.Code{contract.Conflict}
		one      = []contract.Code{contract.NotFound}
		action   = []contract.Code{contract.NotFound, contract.Conflict}
		grant    = []contract.Code{contract.Conflict, contract.StepUpRequired}
		rights   = []contract.Code{contract.NotFound, contract.Conflict, contract.StepUpRequired}
	)
	handle(g, api, masterAdmin, "GET /v1/admin/overview", 200, admin, "See the portal at a glance", "How the people of each population stand now.", nil, g.apiOverview)
	handle(g, api, masterAdmin, "GET /v1/admin/settings", 200, admin, "Read the settings", "Who must have a second factor.", nil, g.apiSettings)
	handle(g, api, steppedUp, "PUT /v1/admin/settings", 200, admin, "Change the settings", "Needs a step-up, a second factor of your own, and the current version.", conflict, g.apiChangeSettings)
	handle(g, api, masterAdmin, "POST /v1/admin/settings/preview", 200, admin, "Preview a change of the settings", "Whom it would hit: how many people policy is about, how many enrol at their next sign-in, how many have skipped, and what to know before. Nothing is changed.", nil, g.apiPreview)
	handle(g, api, anyAdmin, "GET /v1/admin/users", 200, admin, "List people", "In the order of their addresses, at most 200 a page. A page may hold fewer than the limit though there are more: go on for as long as there is a next cursor.", nil, g.apiUsers)
	handle(g, api, masterAdmin, "POST /v1/admin/users", 201, admin, "Create an account", "A local account has no password yet: hand over the link in the answer. Admin rights need a sign-in with a second factor, or a step-up, at most five minutes old.", grant, g.apiCreateUser)
	handle(g, api, anyAdmin, "GET /v1/admin/users/{id}", 200, admin, "Look at a person", "Standing, factor and lock as their owners know them now.", one, g.apiUser)
	handle(g, api, masterAdmin, "PATCH /v1/admin/users/{id}", 200, admin, "Change an account", "Absent fields stay as they are. Who is disabled, loses rights or moves to another organization is signed out at once; with the address, a password link that was handed out is dead. The last Master Admin who can sign in stays one.", rights, g.apiAmendUser)
	handle(g, api, masterAdmin, "DELETE /v1/admin/users/{id}", 204, admin, "Delete an account", "For ever. The last Master Admin who can sign in cannot be deleted.", rights, g.apiDeleteUser)
	handle(g, api, anyAdmin, "POST /v1/admin/users/{id}/reset-second-factor", 204, admin, "Reset a second factor", "This person alone enrols again: factor, recovery codes and skip are dead, sessions end. The reason is written to the audit log.", action, g.apiReset)
	handle(g, api, anyAdmin, "POST /v1/admin/users/{id}/unlock", 204, admin, "Unlock a second factor", "Opens what wrong codes have closed for a time. Refused where only a recovery code or a reset helps.", action, g.apiUnlock)
	handle(g, api, masterAdmin, "POST /v1/admin/users/{id}/password-link", 201, admin, "Make a password link", "By which the person sets a new password, once, within 72 hours; links made before are dead. Shown this once.", rights, g.apiPasswordLink)
	handle(g, api, masterAdmin, "GET /v1/admin/users/{id}/sessions", 200, admin, "List a person's sessions", "Those that live now.", one, g.apiSessions)
	handle(g, api, masterAdmin, "DELETE /v1/admin/users/{id}/sessions", 204, admin, "Sign a person out everywhere", "All their sessions end at once.", one, g.apiEndSessions)
	handle(g, api, masterAdmin, "GET /v1/admin/organizations", 200, admin, "List organizations", "In the order of their names, with how many contacts each has.", nil, g.apiOrganizations)
	handle(g, api, masterAdmin, "GET /v1/admin/audit", 200, admin, "Read the audit log", "Newest first.", nil, g.apiAudit)
	handle(g, api, masterAdmin, "GET /v1/admin/deliveries", 200, admin, "List text messages", "Newest first: to whom, when, and what became of them. Numbers show their last digits only.", nil, g.apiDeliveries)
	handle(g, api, masterAdmin, "GET /v1/admin/deliveries/traffic", 200, admin, "Read how texts fare by country", "How many text messages of the last 24 hours were answered with their code, and which countries are not texted because too few were.", nil, g.apiTraffic)
	handle(g, api, masterAdmin, "GET /v1/admin/branding", 200, admin, "Read the branding", "How the portal's pages look.", nil, g.apiBranding)
	handle(g, api, masterAdmin, "PUT /v1/admin/branding", 200, admin, "Change the branding", "All of it but the logos, which stay where they are absent.", nil, g.apiRebrand)
}

// PortalSettings are the portal's second-factor settings.
type PortalSettings struct {
	Internal struct {
		Mode string `json:"mode" enum:"off,optional,required"`
	} `json:"internal" doc:"Internal users: authenticator app."`
	Organizations struct {
		Mode        string `json:"mode" enum:"off,optional,required"`
		AllowOptOut bool   `json:"allow_opt_out" doc:"Enrolment may be declined where it is required."`
	} `json:"organizations" doc:"Contacts of organizations: text message."`
	Version int64 `json:"version" doc:"Counts changes. A change names the version it was made from."`
}

func settingsOf(s contract.Settings) PortalSettings {
	var out PortalSettings
	out.Internal.Mode = string(s.Internal.Mode)
	out.Organizations.Mode, out.Organizations.AllowOptOut = string(s.Organizations.Mode), s.Organizations.AllowOptOut
	out.Version = s.Version
	return out
}

type settingsAnswer struct{ Body PortalSettings }

func (s PortalSettings) settings() contract.Settings {
	return contract.Settings{
		Internal:      contract.PopulationSettings{Mode: contract.Mode(s.Internal.Mode)},
		Organizations: contract.OrganizationSettings{Mode: contract.Mode(s.Organizations.Mode), AllowOptOut: s.Organizations.AllowOptOut},
		Version:       s.Version,
	}
}

func (g *gateway) apiSettings(ctx context.Context, _ *struct{}) (*settingsAnswer, error) {
	r, err := g.desk.rules(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	return &settingsAnswer{settingsOf(r.Settings)}, nil
}

type settingsRequest struct{ Body PortalSettings }

func (g *gateway) apiChangeSettings(ctx context.Context, in *settingsRequest) (*settingsAnswer, error) {
	changed, err := g.desk.change(ctx, sessionOf(ctx), in.Body.settings())
	if err != nil {
		return nil, err
	}
	return &settingsAnswer{settingsOf(changed)}, nil
}

// Overview is the portal at a glance.
type Overview struct {
	Internal      Figures `json:"internal"`
	Organizations Figures `json:"organizations"`
}

// Figures is one population, counted.
type Figures struct {
	Mode       string `json:"mode" enum:"off,optional,required"`
	Users      int64  `json:"users" doc:"Local accounts that are not disabled: those whom policy is about."`
	Federated  int64  `json:"federated" doc:"Accounts that sign in at an identity provider."`
	Disabled   int64  `json:"disabled"`
	Enrolled   int64  `json:"enrolled" doc:"How many have a second factor that counts."`
	Skipped    int64  `json:"skipped" doc:"How many have declined to enrol, where that counts."`
	WillEnroll int64  `json:"will_enroll" doc:"How many must enrol at their next sign-in."`
	Locked     int64  `json:"locked" doc:"How many cannot use their factor just now; of more than a thousand, those that were looked at."`
}

type overviewAnswer struct{ Body Overview }

func (g *gateway) apiOverview(ctx context.Context, _ *struct{}) (*overviewAnswer, error) {
	o, err := g.desk.overview(ctx, sessionOf(ctx))
	if err != nil {
		return nil, err
	}
	figures := func(p population) Figures {
		return Figures{string(p.Mode), p.Users, p.Federated, p.Disabled, p.Enrolled, p.Skipped, p.WillEnroll, p.Locked}
	}
	return &overviewAnswer{Overview{figures(o.Internal), figures(o.Organizations)}}, nil
}

// Preview is whom a change of the settings would hit.
type Preview struct {
	Internal      Hit       `json:"internal"`
	Organizations Hit       `json:"organizations"`
	Warnings      []Warning `json:"warnings"`
}

// Hit is whom it would hit in one population.
type Hit struct {
	InScope    int64 `json:"in_scope" doc:"Local accounts that are not disabled."`
	WillEnroll int64 `json:"will_enroll" doc:"How many must enrol at their next sign-in."`
	Skipped    int64 `json:"skipped" doc:"How many have declined to enrol, where that counts."`
}

// Warning is what to know before a change is saved.
type Warning struct {
	Code string `json:"code" enum:"admins_enroll,you_enroll,only_admin,re_enrol,skips_forgotten,switched_off" doc:"For programs; stable."`
	Text string `json:"text" doc:"For people."`
}

type previewAnswer struct{ Body Preview }

func (g *gateway) apiPreview(ctx context.Context, in *settingsRequest) (*previewAnswer, error) {
	p, err := g.desk.preview(ctx, sessionOf(ctx), in.Body.settings())
	if err != nil {
		return nil, err
	}
	out := &previewAnswer{Preview{Internal: Hit(p.Internal), Organizations: Hit(p.Organizations), Warnings: []Warning{}}}
	for _, w := range p.Warnings {
		out.Body.Warnings = append(out.Body.Warnings, Warning(w))
	}
	return out, nil
}
