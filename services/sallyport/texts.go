package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
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

// Help is the long help.
func (*textsStatusCommand) Help() string {
	return "Of the last 24 hours, TEXTS are those that are finished (their code was typed, replaced by a newer one, or expired), and ANSWERED those of them whose code was typed. " +
		"While a country is stopped, both are the numbers that led to the stop."
}

// Run prints the countries.
func (c *textsStatusCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		if err := v.portal(ctx, c.Portal); err != nil {
			return err
		}
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
			fmt.Printf("No text of portal %s is finished (code typed, replaced or expired) within the last 24 hours, and no country is stopped.\n", c.Portal)
			return nil
		}
		stopped := false
		tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "COUNTRY\tTEXTS\tANSWERED\tSTOPPED UNTIL")
		for _, n := range t.Countries {
			until := "-"
			if n.StoppedUntil != nil {
				stopped = true
				until = n.StoppedUntil.Format(time.RFC3339)
			}
			if n.Recorded {
				until += " (recorded only)"
			}
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s\n", n.Country, n.Sent, share(n.Answered, n.Sent), until)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		fmt.Println("\nTexts of the last 24 hours that are finished: code typed (answered), replaced or expired.")
		if stopped {
			fmt.Println("Where a country is stopped, the numbers are those that led to the stop.")
		}
		return nil
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
	country := strings.ToUpper(strings.TrimSpace(c.Country))
	if !isCountry(country) {
		return wrong("--country: %q is no country; two letters are wanted, such as GB", c.Country)
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		if err := v.portal(ctx, c.Portal); err != nil {
			return err
		}
		office, err := v.texts(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
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

// isCountry tells whether SMS_COUNTRIES might list it.
func isCountry(region string) bool {
	const setting = "SMS_COUNTRIES"
	return !slices.ContainsFunc(sms.Settings{Countries: sms.Countries{region}}.Validate(), func(problem string) bool {
		return strings.HasPrefix(problem, setting)
	})
}

// portal refuses a portal that there is not, and names those there are.
func (v *vault) portal(ctx context.Context, id string) error {
	db, err := v.db(ctx, contract.AuthGateway)
	if err != nil {
		return err
	}
	all, err := gateway.PortalStates(ctx, db)
	if err != nil {
		return err
	}
	ids := make([]string, len(all))
	for i, p := range all {
		ids[i] = p.ID
	}
	switch {
	case slices.Contains(ids, id):
		return nil
	case len(ids) == 0:
		return wrong("--portal: there is no portal %q, and no other yet: sallyport portal create", id)
	default:
		return wrong("--portal: there is no portal %q; there are: %s", id, strings.Join(ids, ", "))
	}
}

// texts opens the office of who sends text messages.
func (v *vault) texts(ctx context.Context) (*sms.Office, error) {
	db, err := v.db(ctx, contract.SMSDispatcher)
	if err != nil {
		return nil, err
	}
	return sms.OpenOffice(ctx, db, v.clock)
}
