package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"sallyport/services/auth-gateway/gateway"
)

// userCommands are `sallyport user …`.
type userCommands struct {
	Import userImportCommand `cmd:"" help:"Move people in from a file: accounts, password hashes, authenticators, telephone numbers."`
	Export userExportCommand `cmd:"" help:"Move people out: as JSON Lines without secrets, or with them, sealed with age."`
	Hashes userHashesCommand `cmd:"" help:"Count the imported password hashes with which nobody has signed in yet."`
}

// userHashesCommand is `sallyport user hashes`.
type userHashesCommand struct {
	site
	Portal string `required:"" help:"The portal."`
}

// Help is the long help.
func (*userHashesCommand) Help() string {
	return "While there are imported hashes, every sign-in of the portal takes the time of each of their forms, so that the time tells nobody whose account has which. " +
		"A form that nobody has any more is forgotten by this command, and costs nothing from then on."
}

// Run prints the forms that are left.
func (c *userHashesCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		register, err := office.Register(ctx, c.Portal)
		if err != nil {
			return err
		}
		left, err := register.Hashes(ctx)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			fmt.Printf("Portal %s has no imported password hashes.\n", c.Portal)
			return nil
		}
		slices.SortFunc(left, func(a, b gateway.HashUse) int { return strings.Compare(a.Form, b.Form) })
		tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "FORM\tACCOUNTS")
		for _, l := range left {
			n := fmt.Sprint(l.Accounts)
			if l.Accounts == 0 {
				n = "none any more: forgotten"
			}
			fmt.Fprintf(tw, "%s\t%s\n", l.Form, n)
		}
		return tw.Flush()
	})
}
