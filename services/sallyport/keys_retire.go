package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// retireAfter is how long a key must have sealed before the older ones may go. Messages with sealed fields are calls,
// which live for seconds: none lies in a stream. A replica that is late with a new file has noticed by then, too.
const retireAfter = 10 * time.Minute

// keysRetireCommand is `sallyport keys retire`.
type keysRetireCommand struct{ keyring }

// Help is the long help.
func (*keysRetireCommand) Help() string {
	return "Old keys go only when every service seals with the new one, ten minutes have passed, and a look at every stored value has found none under an old key. A backup of the documents from before opens with a backup of the key files from before: keep both, or neither."
}

// Run retires.
func (c *keysRetireCommand) Run() error {
	groups, err := c.groups()
	if err != nil {
		return err
	}
	return c.change(func(ctx context.Context, l locker) (err error) {
		if i, err := seal.Begun(l.vault.Keys); err != nil || len(i.Groups) > 0 {
			return errors.Join(err, fmt.Errorf("a rotation that was begun at %s is unfinished; `sallyport keys rotate` finishes it", i.BeganAt.Format(time.RFC3339)))
		}
		return c.work(false, func(ctx context.Context, v *vault) error {
			var refused []error
			var ready []seal.Group
			for _, g := range groups {
				may, err := l.mayRetire(ctx, v, g)
				if err != nil {
					refused = append(refused, fmt.Errorf("%s: %w", named(g), err))
				}
				if may {
					ready = append(ready, g)
				}
			}
			if err := v.recordKeys(ctx, "retire", ready); err != nil {
				return errors.Join(append(refused, err)...)
			}
			for _, g := range ready {
				gone, err := l.Retire(ctx, g.Name(), g.Service)
				if err != nil {
					refused = append(refused, fmt.Errorf("%s: %w", named(g), err))
					continue
				}
				fmt.Printf("%s: retired %s.\n", named(g), ids(gone))
			}
			if len(ready) == 0 && len(refused) == 0 {
				fmt.Println("There are no old keys.")
			}
			return errors.Join(refused...)
		})
	})
}

// mayRetire tells whether one keyset has old keys, or says what still needs them.
func (l locker) mayRetire(ctx context.Context, v *vault, g seal.Group) (bool, error) {
	sharers := sharers(g)
	old := false
	for _, s := range sharers {
		info, err := l.Info(s, g.Name())
		if err != nil {
			return false, err
		}
		old = old || len(info.Old) > 0
		if age := v.clock.Now().Sub(info.Since); len(info.Old) > 0 && age < retireAfter {
			return false, fmt.Errorf("the key that seals now began to %s ago; the old ones may go after %s", age.Round(time.Second), retireAfter)
		}
	}
	if !old {
		return false, nil
	}
	for _, s := range sharers {
		info, err := l.Info(s, g.Name())
		if err != nil {
			return false, err
		}
		if err := v.eachReplica(ctx, s, func(r store.Replica) error {
			if !r.SealsWith(g.Name(), info.Primary) {
				return fmt.Errorf("%s of %s does not seal with key %d yet; give it the new key file, or end it and wait a minute", r, s, info.Primary)
			}
			return nil
		}); err != nil {
			return false, err
		}
		p, err := v.resealing(ctx, s)
		if err != nil {
			return false, err
		}
		if g.Name() == seal.Bus {
			if p.BusPrimary != int64(info.Primary) {
				return false, fmt.Errorf("%s does not seal with key %d yet; it must run, and have the new key file", s, info.Primary)
			}
			continue
		}
		if p.Primary != int64(info.Primary) {
			return false, fmt.Errorf("%s does not seal with key %d yet; it must run, and have the new key file", s, info.Primary)
		}
		if !p.Done(info.Primary) {
			return false, fmt.Errorf("%s is not done: %d values are under an old key, %d of which no key opens", s, p.Left, p.Unopened)
		}
		if err := l.none(ctx, v, g, info); err != nil {
			return false, err
		}
	}
	return true, nil
}

// none looks at every stored value. Where one is under an old key after all, the service looks again.
func (l locker) none(ctx context.Context, v *vault, g seal.Group, info seal.Info) error {
	db, err := v.db(ctx, g.Service)
	if err != nil {
		return err
	}
	under, err := db.SealedUnder(ctx)
	if err != nil {
		return err
	}
	left := 0
	for _, id := range info.Old {
		left += under[id]
	}
	if left == 0 {
		return nil
	}
	return errors.Join(fmt.Errorf("%d stored values are under an old key; the service re-seals them while it runs", left), store.DoubtResealing(ctx, db))
}
