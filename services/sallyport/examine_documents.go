package main

import (
	"context"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// documents looks at the store, at its clock and at what the databases say.
func (e *examiner) documents(ctx context.Context) []findings {
	f, skew := findings{check: "documents"}, findings{check: "clock, documents"}
	remedy := "Look at MongoDB, its address and credentials in MONGODB_URI, and what lies between."
	if e.embeddedStore {
		remedy = "Start `sallyport up` or `sallyport infra`, give --store the address that it was given, or set MONGODB_URI."
		e.vault.uri = embeddedURI(e.Store)
		if !listens(ctx, e.Store) {
			f.fail(remedy, "Nobody listens at %s, where the embedded document store would; portals and audit log were not looked at.", e.Store)
			return []findings{f}
		}
	}
	defer func() { _ = e.vault.close() }() // it was only read
	bound, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	db, err := store.Connect(bound, store.Options{URI: e.vault.uri, Database: store.Database(contract.Policy), Name: "sallyport", Log: e.vault.log})
	if err != nil && strings.Contains(err.Error(), "auth error") {
		remedy = "Set user and password in MONGODB_URI, with authSource=admin: the operator's commands have sallyport-operator, made by the script of `sallyport mongo-init`."
	}
	if err != nil {
		f.fail(remedy, "%v; portals and audit log were not looked at.", err)
		return []findings{f}
	}
	e.vault.dbs = append(e.vault.dbs, db)
	p, err := db.Probe(ctx, "doctor-"+bus.NewID())
	switch {
	case err != nil:
		f.fail("Look at the store's log: a full disk, no primary, or a user without the right to write.", "The document store answers, but %v.", err)
	case p.Write > slowWrite:
		f.warn("Look at the disk under the store, and at who else uses it.", "A write takes %v until it is acknowledged.", p.Write.Round(time.Millisecond))
	default:
		f.ok("A write is acknowledged in %v, a read takes %v.", p.Write.Round(10*time.Microsecond), p.Read.Round(10*time.Microsecond))
	}
	if !p.Clock.IsZero() {
		judgeClock(&skew, "the document store", p.Clock, p.Asked)
	}
	if err != nil {
		return []findings{f, skew}
	}
	return append([]findings{f, skew}, e.portals(ctx)...)
}
