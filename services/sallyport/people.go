package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
)

// person is whom a command is about.
type person struct{ gateway.AccountInfo }

// resetBy says who can reset somebody whom this command cannot help.
func (p person) resetBy() string {
	if p.MasterAdmin {
		return fmt.Sprintf("sallyport admin reset --portal %s %s --reason …, or another Master Admin on the person's page", p.Portal, p.Email)
	}
	return "an admin of the portal resets them, on the person's page of the console"
}

// gateway opens what the gateway does for an operator.
func (v *vault) gateway(ctx context.Context) (*gateway.Office, error) {
	db, err := v.db(ctx, contract.AuthGateway)
	if err != nil {
		return nil, err
	}
	s, err := config.Load[struct {
		PublicURL string `env:"PUBLIC_URL"`
	}](config.Environ())
	if err != nil {
		return nil, err
	}
	return gateway.OpenOffice(ctx, db, v.clock, s.PublicURL)
}

// find finds the person of an e-mail address.
func (v *vault) find(ctx context.Context, portal, email string) (person, error) {
	office, err := v.gateway(ctx)
	if err != nil {
		return person{}, err
	}
	found, err := office.FindUser(ctx, portal, email)
	return person{found}, err
}

// userID is the id of a person of whom an address or the id itself is given; "" for nobody.
func (v *vault) userID(ctx context.Context, portal, of string) (string, error) {
	if !strings.Contains(of, "@") {
		return of, nil
	}
	who, err := v.find(ctx, portal, of)
	return who.User, err
}

// record has entries in the audit log, before anything is acknowledged. The services tell the same under the same ids
// when they run.
func record(ctx context.Context, log *policy.Audit, entries ...contract.AuditRequest) error {
	for _, e := range entries {
		if err := log.Append(ctx, e.ID, e.AuditNote); err != nil {
			return fmt.Errorf("the change is made, but the audit log could not be written yet; the services write it when they run: %w", err)
		}
	}
	return nil
}

// printLink prints a one-time link, the only secret that a command prints, on the standard output alone.
func printLink(l gateway.HandedLink, now time.Time) {
	fmt.Printf("\n  %s\n\nOver this link they set their password, once, within %v (until %s). Hand it to nobody else.\n",
		l.URL.Reveal(), l.ExpiresAt.Sub(now).Round(time.Hour), l.ExpiresAt.Format(time.RFC3339))
}
