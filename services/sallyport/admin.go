package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
)

// adminCommands are `sallyport admin …`.
type adminCommands struct {
	Create adminCreateCommand `cmd:"" help:"Add a Master Admin to a portal and print the link by which they set their password."`
	Reset  adminResetCommand  `cmd:"" help:"Break-glass: let a Master Admin in who is locked out. Audited."`
}

// adminCreateCommand is `sallyport admin create`.
type adminCreateCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	Email  string `required:"" help:"The admin's e-mail address."`
	Name   string `required:"" help:"The admin's name."`
}

// Run makes the account and prints the link.
func (c *adminCreateCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		link, err := office.CreateAdmin(ctx, gateway.NewAdmin{Portal: c.Portal, Email: c.Email, Name: c.Name, Actor: actor()})
		if err != nil {
			return err
		}
		if err := record(ctx, rules.Audit(), link.Entries...); err != nil {
			return err
		}
		fmt.Printf("%s is a Master Admin of %s now. This is recorded in the audit log, by %s.\n", c.Email, c.Portal, actor())
		printLink(link, v.clock.Now())
		return nil
	})
}

// adminResetCommand is `sallyport admin reset`.
type adminResetCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	Email  string `arg:"" help:"The admin's e-mail address."`
	Reason string `required:"" help:"Why, for the audit log."`
}

// Help is the long help.
func (*adminResetCommand) Help() string {
	return "For the Master Admin who cannot get in and whom no other admin can help. Their second factor, its locks and their password are gone, their sessions end, a disabled account is enabled, " +
		"and a link is printed over which they set a new password, once; they enrol at the next sign-in. It works while the services are down; where they run, sessions end within ten seconds. " +
		"It is written to the audit log as break_glass, with your name and the reason, before the link is printed."
}

// Run resets one admin.
func (c *adminResetCommand) Run() error {
	if err := checkReason(c.Reason); err != nil {
		return err
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		who, err := v.find(ctx, c.Portal, c.Email)
		if err != nil {
			return err
		}
		if !who.MasterAdmin {
			return fmt.Errorf("%s is no Master Admin, and this command is for them alone: %s; what wrong codes have locked is opened by `sallyport unlock`", who.Email, who.resetBy())
		}
		office, err := v.gateway(ctx)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		if _, err := office.Address(ctx, who.Portal); err != nil {
			return err
		}
		// First what is about to happen, so that nothing of it can be done unseen.
		id, now := bus.NewID(), v.clock.Now()
		if err := rules.Audit().Append(ctx, "break-glass-"+id, contract.AuditNote{
			Portal: who.Portal, User: who.User, Actor: actor(), Reason: c.Reason, At: now, Action: contract.AuditBreakGlass,
			Detail: map[string]string{"email": who.Email, "reset": id},
		}); err != nil {
			return fmt.Errorf("nothing was changed, because the audit log could not be written: %w", err)
		}
		v.log.Warn("break-glass: a Master Admin is reset from the command line", slog.String("portal", who.Portal),
			slog.String("user", who.User), slog.String("actor", actor()), slog.String("reason", c.Reason))
		if err := rules.Reset(ctx, contract.ResetRequest{
			Account: who.Account, Reset: id, Actor: actor(), Cause: contract.ResetByOperator, Reason: c.Reason,
		}); err != nil {
			return err
		}
		link, err := c.reopen(ctx, office, rules, who)
		if err != nil {
			return fmt.Errorf("the second factor is reset, but the account is not open yet; run the command again: %w", err)
		}
		fmt.Printf("The second factor of %s is reset, and their sessions end (where the services run, within ten seconds).\n", who.Email)
		if who.Disabled {
			fmt.Println("The account was disabled, and is enabled.")
		}
		fmt.Printf("This is recorded in the audit log of %s as break_glass, by %s.\n", who.Portal, actor())
		if link == nil {
			fmt.Println("They sign in at their provider, and have no password here. If it is the provider that fails: sallyport admin create.")
			return nil
		}
		fmt.Println("The password that they had is dead. They enrol again at the next sign-in.")
		printLink(*link, v.clock.Now())
		return nil
	})
}

// reopen enables the account; one with a password gets a link for a new one.
func (c *adminResetCommand) reopen(ctx context.Context, office *gateway.Office, rules *policy.Office, who person) (*gateway.HandedLink, error) {
	if !who.Federated {
		link, err := office.Reopen(ctx, who.Account, "", actor(), c.Reason)
		if err == nil {
			err = record(ctx, rules.Audit(), link.Entries...)
		}
		return &link, err
	}
	if !who.Disabled {
		return nil, nil
	}
	entry, err := office.Enable(ctx, who.Account, actor(), c.Reason)
	if err == nil {
		err = record(ctx, rules.Audit(), entry)
	}
	return nil, err
}

// checkReason refuses what tells nobody anything.
func checkReason(reason string) error {
	const longest = 500
	if strings.TrimSpace(reason) == "" || utf8.RuneCountInString(reason) > longest {
		return wrong("--reason: say in 1 to %d characters why; the audit log keeps it", longest)
	}
	return nil
}
