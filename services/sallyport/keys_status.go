package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// keysStatusCommand is `sallyport keys status`.
type keysStatusCommand struct {
	site
	JSON bool `name:"json" help:"Print it for a script."`
}

// Help is the long help.
func (*keysStatusCommand) Help() string {
	return "UNDER OLD KEYS counts what the services still have to re-seal, as far as they have counted it themselves; services need not run for it to be read."
}

// keysetState is one keyset of one key file.
type keysetState struct {
	Service contract.Service `json:"service"`
	Keyset  seal.Keyset      `json:"keyset"`
	Primary uint32           `json:"primary"`
	Old     []uint32         `json:"old"`
	Next    []uint32         `json:"next"`
	Since   *time.Time       `json:"since,omitempty"`
	KMS     string           `json:"kms,omitempty"`
	// Left are the stored values under old keys; absent where the service has not counted them, and for bus, where nothing
	// is stored.
	Left *int64 `json:"left,omitempty"`
	// State is "current", "waiting" (a key does not seal yet), "unread" (the service does not use the new key yet),
	// "resealing", "unopened" (values that no key opens are left) or "retirable" (nothing needs the old keys).
	State string `json:"state"`
}

// keysState is what `keys status --json` prints.
type keysState struct {
	Keysets []keysetState `json:"keysets"`
	// Agree tells whether the services share one bus keyset, and no file is of another installation.
	Agree    bool   `json:"agree"`
	Disagree string `json:"disagree,omitempty"`
	// BeganAt is when the rotation was begun that is unfinished.
	BeganAt *time.Time `json:"began_at,omitempty"`
}

// Run prints it.
func (c *keysStatusCommand) Run() error {
	return c.work(false, func(ctx context.Context, v *vault) error {
		state, err := v.keysState(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(state)
		}
		return state.print()
	})
}

// keysState looks at files and documents.
func (v *vault) keysState(ctx context.Context) (keysState, error) {
	var out keysState
	files := seal.ReadFiles(ctx, v.keyFiles())
	begun, err := seal.Begun(v.Keys)
	if err != nil {
		return out, err
	}
	if len(begun.Groups) > 0 {
		out.BeganAt = &begun.BeganAt
	}
	for _, s := range services() {
		p, err := v.resealing(ctx, s)
		if err != nil {
			return out, err
		}
		for _, name := range []seal.Keyset{seal.Store, seal.Bus} {
			info, err := files.Info(s, name)
			if err != nil {
				return out, wrong("%v", err)
			}
			out.Keysets = append(out.Keysets, stateOf(s, name, info, p))
		}
	}
	_, err = files.Turn(seal.Bus, "")
	if out.Agree = err == nil; err != nil {
		out.Disagree = err.Error()
	}
	return out, nil
}

func (v *vault) resealing(ctx context.Context, s contract.Service) (store.Resealing, error) {
	db, err := v.db(ctx, s)
	if err != nil {
		return store.Resealing{}, err
	}
	return store.ReadResealing(ctx, db)
}

// stateOf says in one word what is to be done about a keyset.
func stateOf(s contract.Service, name seal.Keyset, info seal.Info, p store.Resealing) keysetState {
	k := keysetState{Service: s, Keyset: name, Primary: info.Primary, Old: append([]uint32{}, info.Old...), Next: append([]uint32{}, info.Next...), KMS: info.KMS, State: "current"}
	if !info.Since.IsZero() {
		k.Since = &info.Since
	}
	used := p.BusPrimary
	if name == seal.Store {
		used = p.Primary
		if used == int64(info.Primary) && (p.Collection != "" || !p.EndedAt.IsZero() || !p.DoneAt.IsZero()) {
			k.Left = &p.Left
		}
	}
	switch {
	case len(info.Next) > 0:
		k.State = "waiting"
	case len(info.Old) == 0 && (name == seal.Bus || p.Left == 0):
	case used != int64(info.Primary):
		k.State = "unread"
	case name == seal.Store && p.Unopened > 0 && p.Collection == "":
		k.State = "unopened"
	case name == seal.Store && !p.Done(info.Primary):
		k.State = "resealing"
	default:
		k.State = "retirable"
	}
	return k
}

// said are the states for a person.
var said = map[string]string{
	"current":   "one key",
	"waiting":   "a new key does not seal yet: keys rotate finishes it",
	"unread":    "the service does not use the new key yet",
	"resealing": "is being re-sealed",
	"unopened":  "values are left that no key opens",
	"retirable": "done; keys retire takes the old keys out",
}

// print prints it for a person.
func (k keysState) print() error {
	tw := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "SERVICE\tKEYSET\tSEALS\tSINCE\tOLD\tUNDER OLD KEYS\tSTATE")
	for _, s := range k.Keysets {
		since, old, left := "-", "-", "-"
		if s.Since != nil {
			since = s.Since.Format(time.RFC3339)
		}
		if len(s.Old) > 0 {
			old = ids(s.Old)
		}
		if s.Left != nil {
			left = strconv.FormatInt(*s.Left, 10)
		}
		state := said[s.State]
		if s.KMS != "" {
			state += " (wrapped by " + strings.TrimPrefix(s.KMS, seal.KMSScheme) + ")"
		}
		fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", s.Service, s.Keyset, s.Primary, since, old, left, state)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if k.BeganAt != nil {
		fmt.Printf("\nA rotation that was begun at %s is unfinished: run `sallyport keys rotate` to finish it.\n", k.BeganAt.Format(time.RFC3339))
	}
	if !k.Agree {
		return errors.New(k.Disagree)
	}
	return nil
}
