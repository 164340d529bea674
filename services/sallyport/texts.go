package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/sms-dispatcher/sms"
)

// textsCommands are `sallyport texts …`.
type textsCommands struct {
	Status textsStatusCommand `cmd:"" help:"How the texts of a portal to each country fared of late, and what is stopped."`
	Resume textsResumeCommand `cmd:"" help:"Have a country texted again that was stopped because too few codes came back."`
}

// textsStatusCommand is `sallyport texts status`.
type textsStatusCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	JSON   bool   `name:"json" help:"Print what the service would answer, for a script."`
}

// Run prints the countries.
func (c *textsStatusCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.texts(ctx)
		if err != nil {
			return err
		}
		t, err := office.Traffic(ctx, c.Portal)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(t)
		}
		if len(t.Countries) == 0 {
			fmt.Printf("No text of portal %s is over within the last 24 hours, and no country is stopped.\n", c.Portal)
			return nil
		}
		tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "COUNTRY\tTEXTS\tANSWERED\tSTOPPED UNTIL")
		for _, n := range t.Countries {
			until := "-"
			if n.StoppedUntil != nil {
				until = n.StoppedUntil.Format(time.RFC3339)
			}
			if n.Recorded {
				until += " (recorded only)"
			}
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s\n", n.Country, n.Sent, share(n.Answered, n.Sent), until)
		}
		return tw.Flush()
	})
}

// share writes a part of a whole.
func share(part, whole int) string {
	if whole == 0 {
		return "0"
	}
	return strconv.Itoa(part) + " (" + strconv.Itoa(100*part/whole) + "%)"
}

// textsResumeCommand is `sallyport texts resume`.
type textsResumeCommand struct {
	site
	Portal  string `required:"" help:"The portal."`
	Country string `required:"" help:"The country, such as GB."`
	Reason  string `required:"" help:"Why, for the audit log."`
}

// Help is the long help.
func (*textsResumeCommand) Help() string {
	return "Ends the stop of one country at once, and starts its counts again: should too few codes come back again, the next stop lasts longer. Services that run see it within seconds."
}

// Run ends a stop, and says so.
func (c *textsResumeCommand) Run() error {
	if err := checkReason(c.Reason); err != nil {
		return err
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.texts(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		country := strings.ToUpper(c.Country)
		id, ended, err := office.Resume(ctx, c.Portal, country, actor(), c.Reason)
		if err != nil {
			return err
		}
		if ended == nil {
			fmt.Printf("%s is not stopped for portal %s.\n", country, c.Portal)
			return nil
		}
		if err := record(ctx, rules.Audit(), contract.AuditRequest{ID: id, AuditNote: contract.AuditNote{
			Portal: c.Portal, Actor: actor(), Reason: c.Reason, At: ended.At, Action: contract.AuditTextsResumed,
			Detail: map[string]string{"country": country, "sent": strconv.Itoa(ended.Sent), "answered": strconv.Itoa(ended.Answered)},
		}}); err != nil {
			return err
		}
		fmt.Printf("%s is texted again for portal %s. It is recorded in the audit log.\n", country, c.Portal)
		return nil
	})
}

// texts opens the office of who sends text messages.
func (v *vault) texts(ctx context.Context) (*sms.Office, error) {
	db, err := v.db(ctx, contract.SMSDispatcher)
	if err != nil {
		return nil, err
	}
	return sms.OpenOffice(ctx, db, v.clock)
}
