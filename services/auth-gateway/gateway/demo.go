package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/service"
	"sallyport/pkg/store"
)

// DemoPassword is the password of every demo account. The demo runs on this machine only.
const DemoPassword = "open-sesame-demo"

// DemoPortal is the id of the demo portal.
const DemoPortal = "demo"

// DemoAccount is an account of the demo, as it is announced at start.
type DemoAccount struct{ Email, Who string }

// DemoAccounts lists the accounts of the demo.
func DemoAccounts() []DemoAccount {
	var out []DemoAccount
	for _, u := range demoUsers() {
		who := "contact of " + u.Organization
		switch {
		case u.MasterAdmin:
			who = "internal, Master Admin"
		case u.Federated:
			who = "internal, federated"
		case u.Audience == contract.Internal:
			who = "internal"
		case u.OrganizationAdmin:
			who += ", its admin"
		}
		out = append(out, DemoAccount{u.Email, who})
	}
	return out
}

func demoUsers() []user {
	internal := func(email, name string) user {
		return user{Email: email, Name: name, Audience: contract.Internal}
	}
	contact := func(email, name, organization string) user {
		return user{Email: email, Name: name, Audience: contract.Organization, Organization: organization}
	}
	admin, second := internal("admin@demo.test", "Ada Moreau"), internal("second@demo.test", "Sven Lindqvist")
	admin.MasterAdmin, second.MasterAdmin = true, true
	entra := internal("entra@demo.test", "Elif Demir")
	entra.Federated = true
	owner := contact("owner@acme.test", "Olga Petrov", "Acme")
	owner.OrganizationAdmin = true
	return []user{
		admin, second, internal("agent@demo.test", "Amir Haddad"), entra, owner,
		contact("clerk@acme.test", "Clara Weiss", "Acme"), contact("temp@acme.test", "Tomas Varga", "Acme"),
		contact("owner@globex.test", "Greta Olsen", "Globex"),
	}
}

// SeedDemo adds the demo portal with its accounts and settings, through a gateway that runs. What is there already
// stays as it is, and who was deleted stays away, so that a restart keeps what visitors did. On a machine with other work
// a part may not answer in time: then it goes on with what is missing, until ctx ends.
func SeedDemo(ctx context.Context, svc *service.Service) error {
	for {
		err := seedDemo(ctx, svc)
		if contract.CodeOf(err) != contract.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func seedDemo(ctx context.Context, svc *service.Service) error {
	// The settings come first and the portal last: nobody can sign in before everything is there.
	if err := seedSettings(ctx, svc); err != nil {
		return err
	}
	a := newAccounts(svc.DB)
	if p, err := a.portals.Get(ctx, DemoPortal); err == nil {
		return a.repair(ctx, p)
	} else if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("demo portal: %w", err)
	}
	hashes, err := newPasswords(7168, 5, 512)
	if err != nil {
		return err
	}
	var hash string
	for _, u := range demoUsers() {
		if _, err := a.byEmail(ctx, DemoPortal, u.Email); err == nil {
			continue
		} else if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("demo account: %w", err)
		}
		if hash == "" {
			if hash, err = hashes.hash(ctx, secret.New(DemoPassword)); err != nil {
				return err
			}
		}
		u.Portal, u.User, u.Password = DemoPortal, demoID(u.Email), hash
		if err := a.add(ctx, u, svc.Clock.Now()); err != nil && !errors.Is(err, store.ErrExists) {
			return fmt.Errorf("demo account %s: %w", u.Email, err)
		}
	}
	err = a.portals.Insert(ctx, portal{
		ID: DemoPortal, Name: "Northwind Portal", Accent: "#1f5fd0", SupportEmail: "support@northwind.test",
		HelpText: "Call the Northwind service desk on weekdays from 8 to 18.", StandIn: true,
	})
	if err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("demo portal: %w", err)
	}
	p, err := a.portals.Get(ctx, DemoPortal)
	if err == nil {
		err = a.repair(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("demo admins: %w", err)
	}
	return nil
}

// seedSettings gives the demo portal its settings, unless it has some.
func seedSettings(ctx context.Context, svc *service.Service) error {
	settings, err := bus.Request(ctx, svc.Bus, contract.PolicySettings, contract.SettingsRequest{Portal: DemoPortal})
	if err != nil {
		return fmt.Errorf("demo settings: %w", err)
	}
	if settings.Version > 0 {
		return nil
	}
	_, err = bus.Request(ctx, svc.Bus, contract.PolicyChange, contract.ChangeRequest{
		Portal: DemoPortal, Actor: "operator", Settings: contract.Settings{
			Internal:      contract.PopulationSettings{Mode: contract.ModeRequired},
			Organizations: contract.OrganizationSettings{Mode: contract.ModeRequired, AllowOptOut: true},
		},
	})
	if err != nil && contract.CodeOf(err) != contract.Conflict {
		return fmt.Errorf("demo settings: %w", err)
	}
	return nil
}

// demoID is a readable id that is the same on every machine: "agent-demo" of agent@demo.test.
func demoID(email string) string {
	out := []rune{}
	for _, r := range email {
		switch r {
		case '@':
			out = append(out, '-')
		case '.':
			return string(out)
		default:
			out = append(out, r)
		}
	}
	return string(out)
}
