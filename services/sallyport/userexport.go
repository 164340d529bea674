package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/sallyport/roster"
)

// userExportCommand is `sallyport user export`.
type userExportCommand struct {
	site
	Portal    string   `required:"" help:"The portal."`
	Factors   bool     `help:"With password hashes and second factors: needs --recipient."`
	Recipient []string `placeholder:"age1…" help:"Seal the export with age for this recipient; may be given several times."`
	Reason    string   `default:"moved out to a file" help:"Why, for the audit log."`
}

// Help is the long help.
func (*userExportCommand) Help() string {
	return "Prints a person per line, in the order of addresses, as user import reads them. Without --factors no secret is among it. With them everything is sealed before it is printed, " +
		"and only who holds the identity of a recipient can read it (age-keygen makes one). Recovery codes stay behind: only their hashes are kept. The export is recorded in the audit log before its first line."
}

// Run prints the people.
func (c *userExportCommand) Run() error {
	if err := checkReason(c.Reason); err != nil {
		return err
	}
	var to []age.Recipient
	if len(c.Recipient) > 0 {
		var err error
		if to, err = age.ParseRecipients(strings.NewReader(strings.Join(c.Recipient, "\n"))); err != nil {
			return wrong("--recipient: it must be one that age-keygen printed, such as age1…")
		}
	}
	if c.Factors && len(to) == 0 {
		return wrong("--factors: what is secret leaves this machine sealed alone: name who may open it with --recipient age1… (age-keygen makes one)")
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		register, err := office.Register(ctx, c.Portal)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		e := exporter{register: register, rules: rules, portal: c.Portal}
		if c.Factors {
			if e.factors, err = v.moving(ctx); err != nil {
				return err
			}
			e.secrets = true
		}
		detail := map[string]string{"factors": "no"}
		if c.Factors {
			detail["factors"] = "yes"
		}
		if len(to) > 0 {
			detail["recipients"] = cut(strings.Join(c.Recipient, " "), 1024)
		}
		if err := rules.Audit().Append(ctx, "export-"+bus.NewID(), contract.AuditNote{
			Portal: c.Portal, Actor: actor(), Reason: c.Reason, At: v.clock.Now(), Action: contract.AuditUsersExported, Detail: detail,
		}); err != nil {
			return fmt.Errorf("nothing was exported, because the audit log could not be written: %w", err)
		}
		n, err := e.write(ctx, os.Stdout, to)
		if err != nil {
			return fmt.Errorf("the export is not whole, after %s: %w", counted(n, "account"), err)
		}
		fmt.Fprintf(os.Stderr, "%s of portal %s exported. It is recorded in the audit log, by %s.\n", counted(n, "account"), c.Portal, actor())
		return nil
	})
}

// exporter writes the people of a portal.
type exporter struct {
	register *gateway.Register
	rules    *policy.Office
	portal   string
	secrets  bool
	factors  factors
}

// write writes them, sealed where there are recipients. Secrets are written to recipients alone.
func (e *exporter) write(ctx context.Context, out io.Writer, to []age.Recipient) (n int, err error) {
	seal := func() error { return nil }
	if len(to) > 0 {
		if out, seal, err = sealTo(out, to); err != nil {
			return 0, err
		}
	}
	w := bufio.NewWriter(out)
	const page = 200
	for after := ""; ; {
		people, last, err := e.register.People(ctx, after, page)
		if err != nil {
			return n, err
		}
		if len(people) == 0 {
			break
		}
		after = last
		for _, r := range people {
			p := roster.Person{PersonRecord: r}.WithoutSecrets()
			if e.secrets && len(to) > 0 {
				if p, err = e.whole(ctx, r); err != nil {
					return n, err
				}
			}
			if _, err := w.Write(p.Line()); err != nil {
				return n, err
			}
			n++
		}
	}
	if err := w.Flush(); err != nil {
		return n, err
	}
	return n, seal()
}

// whole is a person with password hash and the factor that counts now.
func (e *exporter) whole(ctx context.Context, r gateway.PersonRecord) (roster.Person, error) {
	p, who := roster.Person{PersonRecord: r}, contract.Account{Portal: e.portal, User: r.ID}
	if r.Federated != nil && *r.Federated {
		return p.WithoutSecrets(), nil
	}
	standing, err := e.rules.Standing(ctx, contract.DecideRequest{Account: who, Audience: r.Audience})
	if err != nil {
		return p, err
	}
	for _, f := range standing.Decision.Factors {
		p.Since = f.Since.UTC()
		switch f.Factor {
		case contract.FactorTOTP:
			key, ok, err := e.factors.app.Export(ctx, e.factors.appKeys, who, f.Enrolment)
			if err == nil && !ok {
				err = missing(who, f)
			}
			if err != nil {
				return p, err
			}
			p.Key, p.KeyLabel = key.Key, f.Label
		case contract.FactorSMS:
			number, ok, err := e.factors.phone.Export(ctx, e.factors.phoneKeys, who, f.Enrolment)
			if err == nil && !ok {
				err = missing(who, f)
			}
			if err != nil {
				return p, err
			}
			p.Phone = number.Number
		}
	}
	return p, nil
}

// missing is a factor that counts and is not where it should be: the person enrols meanwhile, or data is lost.
func missing(who contract.Account, f contract.FactorInfo) error {
	return fmt.Errorf("the %s of account %s, enrolment %s, is not with its owner: if the person enrols just now, export again", f.Factor, who.User, f.Enrolment)
}
