package main

import (
	"context"
	"fmt"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/store"
)

// hearFor is how many seconds `keys rotate` waits for replicas that have not heard of a new key.
const hearFor = 20

// heard returns when every replica that runs has the keys that are about to seal, or says which one does not.
func (l locker) heard(s site, groups []seal.Group) error {
	return s.work(false, func(ctx context.Context, v *vault) error {
		err := l.lacking(ctx, v, groups)
		for i := 0; i < hearFor && err != nil; i++ {
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
			err = l.lacking(ctx, v, groups)
		}
		return err
	})
}

// lacking names a replica that does not have a key that is about to seal.
func (l locker) lacking(ctx context.Context, v *vault, groups []seal.Group) error {
	for _, g := range groups {
		t, err := l.Turn(g.Name(), g.Service)
		if err != nil {
			return err
		}
		if t.Next == 0 {
			continue
		}
		for _, s := range sharers(g) {
			if err := v.eachReplica(ctx, s, func(r store.Replica) error {
				if r.Lacks(g.Name(), t.Next) {
					return fmt.Errorf("%s: %s of %s does not have key %d yet, and nothing seals with it; give it the new key file, or end it and wait a minute, then run this again", named(g), r, s, t.Next)
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachReplica calls f for every replica of a service that runs, until it has something to say.
func (v *vault) eachReplica(ctx context.Context, s contract.Service, f func(store.Replica) error) error {
	db, err := v.db(ctx, s)
	if err != nil {
		return err
	}
	all, err := store.Replicas(ctx, db, v.clock.Now())
	if err != nil {
		return err
	}
	for _, r := range all {
		if err := f(r); err != nil {
			return err
		}
	}
	return nil
}

// sharers are the services that share a keyset.
func sharers(g seal.Group) []contract.Service {
	if g.Service == "" {
		return services()
	}
	return []contract.Service{g.Service}
}
