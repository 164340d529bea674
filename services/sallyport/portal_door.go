package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
)

// portalKeyCommands are `sallyport portal key …`.
type portalKeyCommands struct {
	Create portalKeyCreateCommand `cmd:"" help:"Make an API key for a portal's server, and print it, once."`
	List   portalKeyListCommand   `cmd:"" help:"List the API keys of a portal."`
	Revoke portalKeyRevokeCommand `cmd:"" help:"Kill an API key, at once."`
}

// portalKeyCreateCommand is `sallyport portal key create`.
type portalKeyCreateCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	Name   string `default:"portal server" help:"What the key is for, as the audit log names it."`
	App    string `default:"portal" help:"Whose key it is. Keys of one app share its people's ids and its sign-ins; another app with ids of its own has another name."`
}

// Run makes the key.
func (c *portalKeyCreateCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		key, entry, err := office.CreateAPIKey(ctx, c.Portal, c.Name, c.App, actor())
		if err != nil {
			return err
		}
		if err := record(ctx, rules.Audit(), entry); err != nil {
			return err
		}
		fmt.Println(key.Reveal())
		fmt.Fprintf(os.Stderr, "This API key of portal %s is shown this once, works from now on, and opens the portal door: keep it as you keep a password. This is recorded in the audit log, by %s.\n", c.Portal, actor())
		return nil
	})
}

// portalKeyListCommand is `sallyport portal key list`.
type portalKeyListCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	JSON   bool   `name:"json" help:"Print the keys as JSON."`
}

// Run prints the keys, without what would open anything.
func (c *portalKeyListCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		all, err := office.APIKeys(ctx, c.Portal)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(all)
		}
		if len(all) == 0 {
			fmt.Printf("Portal %s has no API key.\n", c.Portal)
			return nil
		}
		tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "KEY\tNAME\tAPP\tMADE\tLAST USED\tREVOKED")
		for _, k := range all {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.App, day(k.CreatedAt), day(k.UsedAt), day(k.RevokedAt))
		}
		return tw.Flush()
	})
}

// day is a time as lists of keys show it, to the hour: it is known no better.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15h")
}

// portalKeyRevokeCommand is `sallyport portal key revoke`.
type portalKeyRevokeCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	ID     string `required:"" help:"The key's id: the middle part of the key, as the list shows it."`
}

// Run revokes the key.
func (c *portalKeyRevokeCommand) Run() error {
	return c.atDoor(fmt.Sprintf("API key %s of portal %s is revoked, at once", c.ID, c.Portal), func(ctx context.Context, office *gateway.Office) (contract.AuditRequest, error) {
		return office.RevokeAPIKey(ctx, c.Portal, c.ID, actor())
	})
}

// returnURLCommands are `sallyport portal return-url …`.
type returnURLCommands struct {
	Add    returnURLAddCommand    `cmd:"" help:"Register a URL to which people may be sent back: exactly this one."`
	List   returnURLListCommand   `cmd:"" help:"List the registered URLs of a portal."`
	Remove returnURLRemoveCommand `cmd:"" help:"Send nobody there any more."`
}

// returnURLAddCommand is `sallyport portal return-url add`.
type returnURLAddCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	URL    string `arg:"" help:"A whole address: https, or http on this machine."`
}

// Run registers the URL.
func (c *returnURLAddCommand) Run() error {
	return c.atDoor(fmt.Sprintf("People of portal %s may be sent back to %s", c.Portal, c.URL), func(ctx context.Context, office *gateway.Office) (contract.AuditRequest, error) {
		return office.AddReturnURL(ctx, c.Portal, c.URL, actor())
	})
}

// returnURLRemoveCommand is `sallyport portal return-url remove`.
type returnURLRemoveCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	URL    string `arg:"" help:"The URL, as it was registered."`
}

// Run removes the URL.
func (c *returnURLRemoveCommand) Run() error {
	return c.atDoor(fmt.Sprintf("People of portal %s are sent back to %s no more, within ten seconds", c.Portal, c.URL), func(ctx context.Context, office *gateway.Office) (contract.AuditRequest, error) {
		return office.RemoveReturnURL(ctx, c.Portal, c.URL, actor())
	})
}

// returnURLListCommand is `sallyport portal return-url list`.
type returnURLListCommand struct {
	site
	Portal string `required:"" help:"The portal."`
}

// Run prints the URLs, one a line.
func (c *returnURLListCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		all, err := office.ReturnURLs(ctx, c.Portal)
		for _, u := range all {
			fmt.Println(u)
		}
		return err
	})
}

// atDoor changes something of a portal's door, and says so when it is in the audit log.
func (s site) atDoor(done string, change func(context.Context, *gateway.Office) (contract.AuditRequest, error)) error {
	return s.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		entry, err := change(ctx, office)
		if err != nil {
			return err
		}
		if err := record(ctx, rules.Audit(), entry); err != nil {
			return err
		}
		fmt.Printf("%s. This is recorded in the audit log, by %s.\n", done, actor())
		return nil
	})
}
