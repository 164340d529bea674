package gateway

import (
	"context"

	"sallyport/pkg/store"
)

// PortalState is what there is to know of a portal before its settings.
type PortalState struct {
	ID, Name string
	// PublicURL is empty where the portal has none of its own; PUBLIC_URL of the gateway counts then.
	PublicURL string
	// SMSRelogin tells that people sign in again after they confirmed their number.
	SMSRelogin bool
	// Admins is how many Master Admins can sign in: neither disabled nor without a password or provider.
	Admins int
	// Masters is how many there are in all.
	Masters int
}

// PortalStates looks at every portal, and changes nothing.
func PortalStates(ctx context.Context, db *store.DB) ([]PortalState, error) {
	a := newAccounts(db)
	portals, err := a.all(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]PortalState, 0, len(portals))
	for _, p := range portals {
		masters, err := a.masters(ctx, p.ID, 1000)
		if err != nil {
			return nil, err
		}
		s := PortalState{ID: p.ID, Name: p.Name, PublicURL: p.PublicURL, SMSRelogin: !p.SMSWithoutRelogin, Masters: len(masters)}
		for _, m := range masters {
			if m.reachable() {
				s.Admins++
			}
		}
		out = append(out, s)
	}
	return out, nil
}
