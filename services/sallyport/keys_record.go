package main

import (
	"context"
	"fmt"
	"strings"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/services/auth-gateway/gateway"
)

// record tells the audit log of every portal what is about to be done to the keys, before it is: they seal what all
// portals keep. The documents are open no longer than that takes.
func (s site) record(what string, keysets []seal.Group) error {
	return s.work(false, func(ctx context.Context, v *vault) error { return v.recordKeys(ctx, what, keysets) })
}

// recordKeys is record while the documents are open.
func (v *vault) recordKeys(ctx context.Context, what string, keysets []seal.Group) error {
	if len(keysets) == 0 {
		return nil
	}
	err := func() error {
		db, err := v.db(ctx, contract.AuthGateway)
		if err != nil {
			return err
		}
		portals, err := gateway.PortalStates(ctx, db)
		if err != nil || len(portals) == 0 {
			return err
		}
		rules, err := v.policy(ctx)
		if err != nil {
			return err
		}
		of := make([]string, len(keysets))
		for i, g := range keysets {
			if of[i] = string(g.Service); g.Service == "" {
				of[i] = string(seal.Bus)
			}
		}
		id, detail := "keys-"+bus.NewID(), map[string]string{"what": what, "of": strings.Join(of, " ")}
		for _, p := range portals {
			if err := rules.Audit().Append(ctx, id, contract.AuditNote{
				Portal: p.ID, Actor: actor(), At: v.clock.Now(), Action: contract.AuditKeysChanged, Detail: detail,
			}); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		return fmt.Errorf("nothing was changed, because the audit log could not be written: %w", err)
	}
	return nil
}
