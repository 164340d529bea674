package main

import (
	"context"
	"fmt"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/sms-dispatcher/sms"
	"sallyport/services/totp-svc/totp"
)

// unlockCommand is `sallyport unlock`.
type unlockCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	Email  string `arg:"" help:"The person's e-mail address."`
	Reason string `required:"" help:"Why, for the audit log."`
}

// Help is the long help.
func (*unlockCommand) Help() string {
	return "Opens the authenticator, the telephone and the recovery codes of one person that wrong codes have locked. What fifty wrong codes in a row have disabled stays closed: only a reset opens that. Wrong passwords that were tried for the person count no more."
}

// lock is one of a person's locks as an operator sees it.
type lock struct {
	what string
	held *contract.Lock
}

// unlocker opens the locks of one service.
type unlocker interface {
	Unlock(context.Context, contract.UnlockRequest) (bool, error)
}

// Run opens what is locked, and says what was.
func (c *unlockCommand) Run() error {
	if err := checkReason(c.Reason); err != nil {
		return err
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		who, err := v.find(ctx, c.Portal, c.Email)
		if err != nil {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		app, phone, err := v.factors(ctx)
		if err != nil {
			return err
		}
		locks, err := locksOf(ctx, app, phone, who.Account)
		if err != nil {
			return err
		}
		id, opened := bus.NewID(), false
		for _, f := range []struct {
			factor contract.Factor
			office unlocker
		}{{contract.FactorTOTP, app}, {contract.FactorSMS, phone}} {
			done, err := f.office.Unlock(ctx, contract.UnlockRequest{Account: who.Account, ID: id, Actor: actor(), Reason: c.Reason})
			if contract.CodeOf(err) == contract.Conflict {
				continue // it is disabled, which is said below
			}
			if err != nil {
				return err
			}
			if !done {
				continue
			}
			opened = true
			if err := record(ctx, rules.Audit(), contract.AuditRequest{ID: contract.UnlockedID(f.factor, id), AuditNote: contract.AuditNote{
				Portal: who.Portal, User: who.User, Actor: actor(), Reason: c.Reason, At: v.clock.Now(),
				Action: contract.AuditFactorUnlocked, Detail: map[string]string{"factor": string(f.factor)},
			}}); err != nil {
				return err
			}
		}
		forgotten, err := c.forget(ctx, v, rules, who)
		if err != nil {
			return err
		}
		disabled := false
		for _, l := range locks {
			if l.held.Until == nil {
				disabled = true
				fmt.Printf("%s of %s is disabled by too many wrong codes: only a reset helps.\n", l.what, who.Email)
				continue
			}
			fmt.Printf("%s of %s was locked until %s and is open now.\n", l.what, who.Email, l.held.Until.UTC().Format(time.RFC3339))
		}
		switch {
		case disabled:
			return fmt.Errorf("only a reset helps: %s", who.resetBy())
		case !opened && !forgotten:
			fmt.Printf("Nothing of %s is locked.\n", who.Email)
		default:
			fmt.Println("It is recorded in the audit log.")
		}
		return nil
	})
}

// forget makes wrong passwords of the person count no more, and tells whether there were any.
func (c *unlockCommand) forget(ctx context.Context, v *vault, rules *policy.Office, who person) (bool, error) {
	office, err := v.gateway(ctx)
	if err != nil {
		return false, err
	}
	forgotten, err := office.ForgetGuesses(ctx, who.Account, actor(), c.Reason, func(ctx context.Context, entry contract.AuditRequest) error {
		return record(ctx, rules.Audit(), entry)
	})
	if err != nil || !forgotten {
		return false, err
	}
	fmt.Printf("Wrong passwords for %s count no more.\n", who.Email)
	return true, nil
}

// factors opens the offices of those who keep the factors.
func (v *vault) factors(ctx context.Context) (*totp.Office, *sms.Office, error) {
	apps, err := v.db(ctx, contract.TOTP)
	if err != nil {
		return nil, nil, err
	}
	phones, err := v.db(ctx, contract.SMSDispatcher)
	if err != nil {
		return nil, nil, err
	}
	app, err := totp.OpenOffice(ctx, apps, v.clock)
	if err != nil {
		return nil, nil, err
	}
	phone, err := sms.OpenOffice(ctx, phones, v.clock)
	return app, phone, err
}

// locksOf lists what is locked of a person.
func locksOf(ctx context.Context, app *totp.Office, phone *sms.Office, who contract.Account) ([]lock, error) {
	a, err := app.Status(ctx, who)
	if err != nil {
		return nil, err
	}
	p, err := phone.Status(ctx, who)
	if err != nil {
		return nil, err
	}
	var out []lock
	for _, l := range []lock{{"The authenticator", a.Lock}, {"The telephone", p.Lock}, {"The set of recovery codes", a.RecoveryLock}} {
		if l.held != nil {
			out = append(out, l)
		}
	}
	return out, nil
}
