package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/policy-svc/policy"
)

// auditCommands are `sallyport audit …`.
type auditCommands struct {
	Verify auditVerifyCommand `cmd:"" help:"Find an audit entry that was edited, removed, added or moved."`
	Export auditExportCommand `cmd:"" help:"Write a portal's audit log to the standard output."`
}

// auditVerifyCommand is `sallyport audit verify`.
type auditVerifyCommand struct {
	site
	Portal string `help:"Only this portal's log; otherwise that of every portal."`
	Expect string `help:"The head of an earlier verification, SEQ:HASH: the log must still contain it. Needs --portal."`
	JSON   bool   `name:"json" help:"Print the result as JSON."`
}

// Help is the long help.
func (*auditVerifyCommand) Help() string {
	return "Recomputes the chain of every entry with policy-svc's key. Keep the printed heads elsewhere: with --expect they show a log that was cut off together with its head. " +
		"Status 1 if a log is not as it was written."
}

// verdict is what a verification says of one portal.
type verdict struct {
	Portal  string     `json:"portal"`
	Intact  bool       `json:"intact"`
	Entries int64      `json:"entries"`
	First   *time.Time `json:"first,omitempty"`
	Last    *time.Time `json:"last,omitempty"`
	// Head is the last entry that is whole.
	Head     string `json:"head,omitempty"`
	BrokenAt int64  `json:"broken_at,omitempty"`
	Why      string `json:"why,omitempty"`
}

// Run prints a verdict per portal.
func (c *auditVerifyCommand) Run() error {
	var expect *policy.Head
	if c.Expect != "" {
		head, err := policy.ParseHead(c.Expect)
		if err != nil {
			return wrong("--expect: %v", err)
		}
		if c.Portal == "" {
			return wrong("--expect: name the portal with --portal")
		}
		expect = &head
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.policy(ctx)
		if err != nil {
			return err
		}
		log := office.Audit()
		portals, err := log.Portals(ctx)
		if err != nil {
			return err
		}
		if c.Portal != "" {
			if !slices.Contains(portals, c.Portal) && expect == nil {
				return fmt.Errorf("portal %q has no audit log", c.Portal)
			}
			portals = []string{c.Portal}
		}
		all := make([]verdict, 0, len(portals))
		broken := 0
		for _, p := range portals {
			one, err := judge(ctx, log, p, expect)
			if err != nil {
				return err
			}
			if !one.Intact {
				broken++
			}
			all = append(all, one)
		}
		if c.JSON {
			err = printJSON(all)
		} else {
			printVerdicts(all)
		}
		if err == nil && broken > 0 {
			err = errors.New("the audit log is not as it was written")
		}
		return err
	})
}

// judge verifies the log of one portal.
func judge(ctx context.Context, log *policy.Audit, portal string, expect *policy.Head) (verdict, error) {
	r, err := log.Verify(ctx, portal, expect)
	if err != nil {
		return verdict{}, fmt.Errorf("portal %s: %w", portal, err)
	}
	out := verdict{Portal: portal, Intact: r.Intact(), Entries: r.Entries, BrokenAt: r.BrokenAt, Why: r.Why}
	if r.Entries > 0 {
		first, last, err := log.Span(ctx, portal, r.Head)
		if err != nil {
			return verdict{}, fmt.Errorf("portal %s: %w", portal, err)
		}
		out.First, out.Last, out.Head = &first, &last, r.Head.String()
	}
	return out, nil
}

func printVerdicts(all []verdict) {
	if len(all) == 0 {
		fmt.Println("There is no audit log yet.")
	}
	for _, v := range all {
		fmt.Printf("portal %s: %d entries", v.Portal, v.Entries)
		if v.First != nil {
			fmt.Printf(", from %s to %s", v.First.Format(time.RFC3339), v.Last.Format(time.RFC3339))
		}
		if v.Intact {
			fmt.Println(", all as they were written.")
		} else {
			fmt.Printf(" are as they were written.\n  BROKEN at entry %d: %s.\n", v.BrokenAt, v.Why)
		}
		if v.Head != "" {
			fmt.Printf("  head %s\n", v.Head)
		}
	}
	if len(all) > 0 {
		fmt.Println("Keep the heads elsewhere: --expect shows with them, later, that a log was cut off.")
	}
}

// auditExportCommand is `sallyport audit export`.
type auditExportCommand struct {
	site
	Portal string `required:"" help:"The portal."`
	Format string `enum:"csv,jsonl" default:"csv" help:"csv, with a heading, or jsonl, one JSON object a line."`
	From   string `help:"Entries at or after this time: 2026-01-31 or 2026-01-31T12:00:00Z."`
	To     string `help:"Entries before this time."`
	User   string `help:"Entries about this user: an e-mail address or an id."`
	Action string `help:"Entries of this action, such as break_glass."`
}

// Run writes the entries.
func (c *auditExportCommand) Run() error {
	f := policy.Filter{Action: contract.AuditAction(c.Action)}
	var err error
	if f.From, err = moment("--from", c.From); err != nil {
		return err
	}
	if f.To, err = moment("--to", c.To); err != nil {
		return err
	}
	if f.Action != "" && !slices.Contains(contract.AuditActions(), f.Action) {
		return wrong("--action: %q is none of %v", f.Action, contract.AuditActions())
	}
	return c.work(false, func(ctx context.Context, v *vault) error {
		office, err := v.policy(ctx)
		if err != nil {
			return err
		}
		log := office.Audit()
		portals, err := log.Portals(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(portals, c.Portal) {
			return fmt.Errorf("portal %q has no audit log", c.Portal)
		}
		if f.User, err = v.userID(ctx, c.Portal, c.User); err != nil {
			return err
		}
		return log.Export(ctx, c.Portal, f, os.Stdout, policy.Format(c.Format))
	})
}

// moment reads a flag with a time; a day is its beginning in UTC.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, wrong("%s: %q is neither a day such as 2026-01-31 nor a time such as 2026-01-31T12:00:00Z", flag, text)
}
