package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
)

// portalCommands are `sallyport portal …`.
type portalCommands struct {
	Create    portalCreateCommand `cmd:"" help:"Add a portal with its settings and its first Master Admin."`
	List      portalListCommand   `cmd:"" help:"List the portals."`
	Set       portalSetCommand    `cmd:"" help:"Change what a portal does beyond its settings and its look, which its admins change."`
	Provider  providerCommands    `cmd:"" help:"Sign-in providers (OpenID Connect) of a portal."`
	Key       portalKeyCommands   `cmd:"" help:"API keys of a portal's server, for the portal door."`
	ReturnURL returnURLCommands   `cmd:"" name:"return-url" help:"Where people who came through the portal door may be sent back to."`
}

// portalCreateCommand is `sallyport portal create`.
type portalCreateCommand struct {
	site
	ID            string `required:"" help:"The portal's id: lower-case letters, digits and dashes. It never changes."`
	Name          string `required:"" help:"The portal's name, as people know it."`
	URL           string `name:"url" required:"" help:"Where people reach its sign-in, such as https://portal.example.com."`
	SupportEmail  string `help:"Whom people ask for help."`
	Accent        string `help:"Colour of buttons and links, such as #1f5fd0."`
	Internal      string `enum:"off,optional,required" default:"required" help:"Second factor of internal users: off, optional or required."`
	Organizations string `enum:"off,optional,required" default:"off" help:"Second factor of contacts: off, optional or required."`
	AllowOptOut   bool   `help:"Contacts may skip the set-up."`
	SMSRelogin    string `name:"sms-relogin" enum:"on,off" default:"on" help:"Contacts sign in again after they confirmed their number: on, or off, where the code that confirms it opens the session."`
	AdminEmail    string `required:"" help:"E-mail address of the first Master Admin."`
	AdminName     string `required:"" help:"Name of the first Master Admin."`
}

// Help is the long help.
func (*portalCreateCommand) Help() string {
	return "Makes the settings, then the first Master Admin, then the portal; tried again after a fault, it completes what is missing. Prints a link by which the admin sets their password, once. " +
		"On a data directory that is new it makes the keys first, as sallyport up does. Running gateways see the portal within ten seconds."
}

// Run makes the portal.
func (c *portalCreateCommand) Run() error {
	return c.work(true, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		wanted := gateway.NewPortal{
			ID: c.ID, Name: c.Name, PublicURL: c.URL, SupportEmail: c.SupportEmail, Accent: c.Accent, Actor: actor(),
			SMSWithoutRelogin: c.SMSRelogin == "off",
		}
		if err := office.Check(ctx, wanted); err != nil {
			return err
		}
		_, err = rules.CreateSettings(ctx, c.ID, contract.Settings{
			Internal:      contract.PopulationSettings{Mode: contract.Mode(c.Internal)},
			Organizations: contract.OrganizationSettings{Mode: contract.Mode(c.Organizations), AllowOptOut: c.AllowOptOut},
		}, actor())
		if err != nil && contract.CodeOf(err) != contract.Conflict { // those of an attempt that was cut short stay
			return err
		}
		link, err := c.firstAdmin(ctx, office)
		if err != nil {
			return err
		}
		entry, err := office.CreatePortal(ctx, wanted)
		if err != nil {
			return err
		}
		if err := record(ctx, rules.Audit(), append([]contract.AuditRequest{entry}, link.Entries...)...); err != nil {
			return err
		}
		fmt.Printf("Portal %s is at %s, and %s is its first Master Admin. Both are recorded in the audit log, by %s.\n", c.ID, c.URL, c.AdminEmail, actor())
		printLink(link, v.clock.Now())
		return nil
	})
}

// firstAdmin makes the account, or takes that of an attempt that was cut short, with a new link.
func (c *portalCreateCommand) firstAdmin(ctx context.Context, office *gateway.Office) (gateway.HandedLink, error) {
	link, err := office.CreateAdmin(ctx, gateway.NewAdmin{Portal: c.ID, Email: c.AdminEmail, Name: c.AdminName, PublicURL: c.URL, Actor: actor()})
	if contract.CodeOf(err) != contract.Conflict {
		return link, err
	}
	who, found := office.FindUser(ctx, c.ID, c.AdminEmail)
	if found != nil || !who.MasterAdmin {
		return link, errors.Join(err, found)
	}
	return office.Reopen(ctx, who.Account, c.URL, actor(), "the portal is made")
}

// portalSetCommand is `sallyport portal set`.
type portalSetCommand struct {
	site
	Portal     string `required:"" help:"The portal."`
	SMSRelogin string `name:"sms-relogin" required:"" enum:"on,off" help:"Contacts sign in again after they confirmed their number: on, or off, where the code that confirms it opens the session."`
}

// Run changes the portal.
func (c *portalSetCommand) Run() error {
	done := fmt.Sprintf("Contacts of portal %s sign in again after they confirmed their number", c.Portal)
	if c.SMSRelogin == "off" {
		done = fmt.Sprintf("The code that confirms their number lets contacts of portal %s in", c.Portal)
	}
	return c.atDoor(done+", within ten seconds", func(ctx context.Context, office *gateway.Office) (contract.AuditRequest, error) {
		return office.SetSMSRelogin(ctx, c.Portal, c.SMSRelogin == "on", actor())
	})
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// portalListCommand is `sallyport portal list`.
type portalListCommand struct {
	site
	JSON bool `name:"json" help:"Print the portals as JSON."`
}

// portalLine is a portal of the list.
type portalLine struct {
	ID            string        `json:"id"`
	Name          string        `json:"name"`
	URL           string        `json:"url"`
	Internal      contract.Mode `json:"internal"`
	Organizations contract.Mode `json:"organizations"`
	AllowOptOut   bool          `json:"allow_opt_out"`
	// SMSRelogin tells that contacts sign in again after they confirmed their number.
	SMSRelogin bool `json:"sms_relogin"`
	// Admins is how many Master Admins can sign in.
	Admins int `json:"admins"`
}

// Run prints the portals.
func (c *portalListCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		db, err := v.db(ctx, contract.AuthGateway)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		all, err := gateway.PortalStates(ctx, db)
		if err != nil {
			return err
		}
		lines := make([]portalLine, 0, len(all))
		for _, p := range all {
			s, err := rules.Settings(ctx, p.ID)
			if err != nil {
				return err
			}
			lines = append(lines, portalLine{p.ID, p.Name, p.PublicURL, s.Internal.Mode, s.Organizations.Mode, s.Organizations.AllowOptOut, p.SMSRelogin, p.Admins})
		}
		if c.JSON {
			return printJSON(lines)
		}
		if len(lines) == 0 {
			fmt.Println("There is no portal yet: sallyport portal create.")
			return nil
		}
		tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "PORTAL\tNAME\tADDRESS\tINTERNAL\tORGANIZATIONS\tSMS RELOGIN\tADMINS")
		for _, l := range lines {
			organizations := string(l.Organizations)
			if l.AllowOptOut {
				organizations += ", opt-out"
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", l.ID, l.Name, first(l.URL, "(PUBLIC_URL)"), l.Internal, organizations, onOff(l.SMSRelogin), l.Admins)
		}
		return tw.Flush()
	})
}
