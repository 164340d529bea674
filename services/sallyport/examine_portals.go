package main

import (
	"context"
	"net/url"
	"strings"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
)

// portals looks whether each portal has an address of its own, settings, and somebody who can administer it, and at the
// end of its audit log.
func (e *examiner) portals(ctx context.Context) []findings {
	f, log := findings{check: "portals"}, findings{check: "audit log"}
	db, err := e.vault.db(ctx, contract.AuthGateway)
	if err != nil {
		f.fail("See the check of the documents.", "The portals cannot be read: %v.", err)
		return []findings{f}
	}
	all, err := gateway.PortalStates(ctx, db)
	switch {
	case err != nil:
		f.fail("Look at the store's log, and at the indexes of auth-gateway.", "The portals cannot be read: %v.", err)
		return []findings{f}
	case len(all) == 0:
		f.warn("Make one: sallyport portal create.", "There is no portal yet; every sign-in is refused.")
		return []findings{f}
	}
	e.addresses(&f, all)
	for _, p := range all {
		switch {
		case p.Admins > 0:
		case p.Masters > 0:
			f.fail("sallyport admin reset --portal "+p.ID+" EMAIL --reason …, then hand over the link.", "Portal %s has no Master Admin who can sign in: they are disabled or have no password.", p.ID)
		default:
			f.fail("sallyport admin create --portal "+p.ID+" …", "Portal %s has no Master Admin.", p.ID)
		}
	}
	rules, err := e.vault.policy(ctx)
	if err != nil {
		log.fail("Restore the key file of policy-svc, or the collection that is named, from a backup.", "%v.", err)
		return []findings{f, log}
	}
	for _, p := range all {
		e.portal(ctx, &f, &log, rules, p)
	}
	if f.clean() {
		f.ok("Each portal (%d) has an address of its own, settings, and a Master Admin who can sign in.", len(all))
	}
	if log.clean() {
		log.ok("The end of each portal's log is as it was written; sallyport audit verify looks at all of it.")
	}
	return []findings{f, log}
}

// portal looks at the settings and at the log of one.
func (e *examiner) portal(ctx context.Context, f, log *findings, rules *policy.Office, p gateway.PortalState) {
	settings, err := rules.Settings(ctx, p.ID)
	switch {
	case err != nil:
		f.fail("Look at the store's log.", "The settings of portal %s cannot be read: %v.", p.ID, err)
	case settings.Version == 0:
		f.fail("Restore policy-svc's database from a backup: without its settings nobody signs in.", "Portal %s has no second-factor settings.", p.ID)
	}
	if err := rules.Audit().CheckHead(ctx, p.ID); err != nil {
		log.fail("Run sallyport audit verify --portal "+p.ID+", and find out who wrote to policy-svc's database.", "The log of portal %s: %v.", p.ID, err)
	}
}

// addresses looks for two portals at one host.
func (e *examiner) addresses(f *findings, all []gateway.PortalState) {
	at := make(map[string]string)
	for _, p := range all {
		u, err := url.Parse(first(p.PublicURL, e.vars["PUBLIC_URL"]))
		if err != nil {
			f.fail("Give it an address such as https://portal.example.com.", "Portal %s: its address is none.", p.ID)
			continue
		}
		host := strings.ToLower(u.Hostname())
		if other, taken := at[host]; taken {
			f.fail("Give each portal an address of its own: a gateway tells them apart by it.", "Portals %s and %s are both at %s.", other, p.ID, host)
		}
		at[host] = p.ID
	}
}
