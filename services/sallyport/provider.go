package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/services/auth-gateway/gateway"
)

// providerCommands are `sallyport portal provider …`.
type providerCommands struct {
	Set    providerSetCommand    `cmd:"" help:"Add a provider to a portal, or replace the one of the same id."`
	Remove providerRemoveCommand `cmd:"" help:"Take a provider from a portal: its people cannot sign in again."`
	List   providerListCommand   `cmd:"" help:"List the providers of a portal."`
}

// providerSetCommand is `sallyport portal provider set`.
type providerSetCommand struct {
	site
	Portal           string   `required:"" help:"The portal."`
	ID               string   `required:"" help:"The provider's id, part of addresses: microsoft."`
	Name             string   `required:"" help:"What its button says: Microsoft."`
	Issuer           string   `required:"" help:"Its issuer, exactly as in its discovery document."`
	ClientID         string   `required:"" help:"The id under which this portal is registered there."`
	ClientSecretFile string   `help:"File with the client secret; - is the standard input. Without it, a public client."`
	Domain           []string `required:"" help:"Domains of the addresses that it may vouch for."`
	TrustEmail       bool     `help:"Take addresses without email_verified: right for a directory of one organization, such as an Entra tenant."`
	Scope            []string `help:"Scopes instead of openid, profile and email."`
}

// Run sets the provider.
func (c *providerSetCommand) Run() error {
	p := gateway.Provider{
		ID: c.ID, Name: c.Name, Issuer: c.Issuer, ClientID: c.ClientID, Domains: c.Domain, TrustEmail: c.TrustEmail, Scopes: c.Scope,
	}
	var err error
	if p.ClientSecret, err = readSecret(c.ClientSecretFile); err != nil {
		return err
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		keys, err := v.keys(contract.AuthGateway)
		if err != nil {
			return err
		}
		return v.changePortal(ctx, func(office *gateway.Office) (contract.AuditRequest, error) {
			return office.SetProvider(ctx, keys, c.Portal, p, actor())
		}, fmt.Sprintf("Provider %s of portal %s is set", c.ID, c.Portal))
	})
}

// providerRemoveCommand is `sallyport portal provider remove`.
type providerRemoveCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	ID     string `required:"" help:"The provider's id."`
}

// Run removes the provider.
func (c *providerRemoveCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		return v.changePortal(ctx, func(office *gateway.Office) (contract.AuditRequest, error) {
			return office.RemoveProvider(ctx, c.Portal, c.ID, actor())
		}, fmt.Sprintf("Provider %s of portal %s is removed", c.ID, c.Portal))
	})
}

// changePortal makes a change of a portal's providers, and says so when it is in the audit log.
func (v *vault) changePortal(ctx context.Context, change func(*gateway.Office) (contract.AuditRequest, error), done string) error {
	office, err := v.gateway(ctx)
	if err != nil {
		return err
	}
	rules, err := v.policy(ctx)
	if err != nil {
		return err
	}
	entry, err := change(office)
	if err != nil {
		return err
	}
	if err := record(ctx, rules.Audit(), entry); err != nil {
		return err
	}
	fmt.Printf("%s; gateways that run see it within ten seconds. This is recorded in the audit log, by %s.\n", done, actor())
	return nil
}

// readSecret reads a secret from a file, never from the command line, which others can see.
func readSecret(path string) (secret.String, error) {
	if path == "" {
		return secret.String{}, nil
	}
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the operator names the file
		if err != nil {
			return secret.String{}, wrong("--client-secret-file: %v", err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	const longest = 4 << 10
	raw, err := io.ReadAll(io.LimitReader(in, longest))
	if err != nil {
		return secret.String{}, wrong("--client-secret-file: %v", err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return secret.String{}, wrong("--client-secret-file: %s is empty", path)
	}
	return secret.New(text), nil
}

// providerListCommand is `sallyport portal provider list`.
type providerListCommand struct {
	site
	Portal string `required:"" help:"The portal."`
}

// Run prints the providers, without their secrets.
func (c *providerListCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		db, err := v.db(ctx, contract.AuthGateway)
		if err != nil {
			return err
		}
		all, err := gateway.Providers(ctx, db, c.Portal)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			fmt.Printf("Portal %s has no provider.\n", c.Portal)
			return nil
		}
		tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
		fmt.Fprintln(tw, "PROVIDER\tNAME\tISSUER\tCLIENT\tDOMAINS\tTRUSTS E-MAIL")
		for _, p := range all {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%t\n", p.ID, p.Name, p.Issuer, p.ClientID, strings.Join(p.Domains, " "), p.TrustEmail)
		}
		return tw.Flush()
	})
}
