package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

const (
	pageDefault = 50
	pageMost    = 200
	// lookedAt bounds how many accounts one page looks at. A list that is sparse in its ranges may end a page early;
	// its cursor goes on from there.
	lookedAt = 2000
)

// people lists whom the admin may see, as [listing] asks.
func (d *desk) people(ctx context.Context, s session, l listing) (peoplePage, error) {
	sc, err := d.scopeOf(ctx, s)
	if err != nil {
		return peoplePage{}, err
	}
	if err := l.check(); err != nil {
		return peoplePage{}, err
	}
	if sc.organization != "" {
		if l.Organization != "" && l.Organization != sc.organization || l.Audience == contract.Internal {
			return peoplePage{}, nil
		}
		l.Organization, l.Audience = sc.organization, contract.Organization
	}
	r, err := d.askRules(ctx, s.Portal, nil)
	if err != nil {
		return peoplePage{}, err
	}
	page, err := d.accounts.list(ctx, sight{s.Portal, r.Now, d.now()}, l)
	if err != nil {
		return peoplePage{}, err
	}
	return page, d.accounts.arrivalsOf(ctx, page.Items)
}

// check puts a listing right, or says what is wrong with it.
func (l *listing) check() error {
	switch l.Audience {
	case "", contract.Internal, contract.Organization:
	default:
		return invalid("audience", "The audience is internal or organization.")
	}
	switch l.Standing {
	case "", standingLocked, standingNever, string(contract.NotEnrolled), string(contract.Enrolled), string(contract.Skipped), string(contract.Exempt):
	default:
		return invalid("standing", "There is no such standing.")
	}
	if len(l.Query) > 254 || len(l.Organization) > 200 {
		return invalid("query", "That is too long.")
	}
	if n := newNeedle(l.Query); n.email == "" {
		l.Query = ""
	}
	switch {
	case l.Limit == 0:
		l.Limit = pageDefault
	case l.Limit < 0 || l.Limit > pageMost:
		return invalid("limit", "A page has 1 to %d people.", pageMost)
	}
	_, err := parseCursor(l.Cursor, l.phasesOf())
	return err
}

// list reads a page: range by range, each from behind the cursor, merged in the order of the phase's key.
func (a accounts) list(ctx context.Context, s sight, l listing) (peoplePage, error) {
	at, err := parseCursor(l.Cursor, l.phasesOf())
	if err != nil {
		return peoplePage{}, err
	}
	page := peoplePage{Items: []card{}}
	ranges, looked := s.ranges(l), 0
	for ; at.Phase < l.phasesOf(); at = (cursor{Phase: at.Phase + 1}) {
		for more := true; more; {
			var batch []user
			if batch, more, err = a.batch(ctx, l, ranges, at); err != nil {
				return peoplePage{}, err
			}
			for _, u := range batch {
				if len(page.Items) == l.Limit {
					page.Next = at.String()
					return page, nil
				}
				at.Key = keyOf(u, at.Phase)
				if s.matches(u, l) && (l.phasesOf() == 1 || l.first(u) == at.Phase) {
					page.Items = append(page.Items, s.card(u))
				}
			}
			if looked += len(batch); looked >= lookedAt && more {
				page.Next = at.String()
				return page, nil
			}
		}
	}
	return page, nil
}

// batch reads the next accounts of a phase, in order, and tells whether there are more. It reads as many from each
// range as it returns, so that none of another range comes between them.
func (a accounts) batch(ctx context.Context, l listing, ranges []span, at cursor) (found []user, more bool, err error) {
	size := int64(l.Limit + 1)
	if l.Query != "" || l.Standing != "" {
		size = max(size, 100)
	}
	for _, r := range ranges {
		part, err := a.within(ctx, r, l.bounds(at), size)
		if err != nil {
			return nil, false, err
		}
		more = more || len(part) == int(size)
		found = append(found, part...)
	}
	slices.SortFunc(found, byKey(at.Phase))
	if len(found) > int(size) {
		found, more = found[:size], true
	}
	return found, more, nil
}

// card is an account as a list shows it.
func (s sight) card(u user) card {
	c := card{user: u, Standing: s.standing(u)}
	if c.Standing == contract.Enrolled {
		c.Factor = u.Mirror.info()
	}
	if s.locked(u) {
		c.LockedUntil, c.Closed = u.Mirror.LockedUntil, u.Mirror.LockedUntil == nil
	}
	return c
}

// historyShown and deliveriesShown are how much of both a person's page shows.
const (
	historyShown    = 20
	deliveriesShown = 10
)

// person is everything about one person. What another service knows is asked there; where one does not answer, the
// rest is shown all the same.
func (d *desk) person(ctx context.Context, s session, id string) (dossier, error) {
	u, err := d.find(ctx, s, id)
	if err != nil {
		return dossier{}, err
	}
	who := u.account()
	r, err := d.askRules(ctx, s.Portal, nil)
	if err != nil {
		return dossier{}, err
	}
	out := dossier{card: sight{s.Portal, r.Now, d.now()}.card(u), Sessions: d.seats(s, who)}
	if out.LastSignInAt, err = d.accounts.lastArrival(ctx, u); err != nil {
		return dossier{}, err
	}
	if s.Who.MasterAdmin && u.MasterAdmin {
		p, err := d.accounts.portals.Get(ctx, s.Portal)
		if err != nil {
			return dossier{}, err
		}
		out.LastAdmin = p.AdminCount == 1 && p.Admins[u.User]
	}
	var (
		work sync.WaitGroup
		mu   sync.Mutex
	)
	ask := func(of contract.Service, f func() error) {
		work.Go(func() {
			if err := f(); err != nil {
				mu.Lock()
				if !slices.Contains(out.Missing, of) {
					out.Missing = append(out.Missing, of)
				}
				mu.Unlock()
			}
		})
	}
	var (
		standing  contract.StandingReply
		totp      contract.TOTPStatusReply
		sms       contract.SMSStatusReply
		history   contract.AuditPage
		delivered contract.DeliveriesPage
	)
	ask(contract.Policy, func() (err error) {
		standing, err = bus.Request(ctx, d.bus, contract.PolicyStanding, profileOf(u).decideRequest(s.Portal))
		return err
	})
	ask(contract.TOTP, func() (err error) {
		totp, err = bus.Request(ctx, d.bus, contract.TOTPStatus, contract.StatusRequest{Account: who})
		return err
	})
	ask(contract.SMSDispatcher, func() (err error) {
		if u.Audience == contract.Organization {
			sms, err = bus.Request(ctx, d.bus, contract.SMSStatus, contract.SMSStatusRequest{Account: who})
		}
		return err
	})
	if s.Who.MasterAdmin {
		ask(contract.Policy, func() (err error) {
			history, err = bus.Request(ctx, d.bus, contract.PolicyAuditList, contract.AuditListRequest{Portal: s.Portal, User: id, Limit: historyShown})
			return err
		})
		ask(contract.SMSDispatcher, func() (err error) {
			if u.Audience == contract.Organization {
				delivered, err = bus.Request(ctx, d.bus, contract.SMSDeliveries, contract.DeliveriesRequest{Portal: s.Portal, User: id, Limit: deliveriesShown})
			}
			return err
		})
	}
	work.Wait()
	out.authority(standing, !slices.Contains(out.Missing, contract.Policy))
	out.CodesLeft, out.Authenticator, out.Recovery, out.Telephone = totp.CodesIn(standing.Decision.Epoch), totp.Lock, totp.RecoveryLock, sms.Lock
	out.Destination = sms.Destination
	out.closed()
	out.History, out.Deliveries = history.Items, delivered.Items
	out.Names = d.names(ctx, s.Portal, out.History)
	out.May = d.permits(s, out)
	return out, nil
}

// authority replaces what the directory knows of a standing by what policy-svc says.
func (p *dossier) authority(r contract.StandingReply, answered bool) {
	if !answered {
		return
	}
	p.Decision, p.Standing, p.Factor = r.Decision, r.Decision.Standing, nil
	for _, f := range r.Decision.Factors {
		if f.Factor == factorOf(p.Audience) {
			p.Factor = &f
		}
	}
}

// closed takes over the lock of the person's factor from its owner, where that has answered.
func (p *dossier) closed() {
	of, lock := contract.TOTP, p.Authenticator
	if p.Audience == contract.Organization {
		of, lock = contract.SMSDispatcher, p.Telephone
	}
	if slices.Contains(p.Missing, of) {
		return
	}
	p.LockedUntil, p.Closed = nil, false
	if lock != nil {
		p.LockedUntil, p.Closed = lock.Until, lock.Until == nil
	}
}

// names finds the names of the people whom entries mention. Who is gone has none.
func (d *desk) names(ctx context.Context, portalID string, entries []contract.AuditEntry) map[string]string {
	out := make(map[string]string)
	for _, e := range entries {
		for _, id := range []string{e.Actor, e.User} {
			if _, known := out[id]; known || !isUserID(id) {
				continue
			}
			u, err := d.accounts.byID(ctx, contract.Account{Portal: portalID, User: id})
			if err == nil {
				out[id] = u.Name
			} else if !errors.Is(err, store.ErrNotFound) {
				return out // the store is in trouble: ids will do
			}
		}
	}
	return out
}

// seats are a person's live sessions, the latest first.
func (d *desk) seats(s session, who contract.Account) []seat {
	out := []seat{}
	for _, v := range d.sessions.list(who) {
		out = append(out, seat{ID: v.ID, Device: v.Device.words(), Methods: v.Methods, AuthTime: v.AuthTime, SeenAt: v.SeenAt, ExpiresAt: v.ExpiresAt, Own: v.ID == s.ID})
	}
	return out
}

// audit reads the audit log.
func (d *desk) audit(ctx context.Context, s session, r contract.AuditListRequest) (contract.AuditPage, error) {
	if err := d.master(ctx, s); err != nil {
		return contract.AuditPage{}, err
	}
	r.Portal = s.Portal
	return bus.Request(ctx, d.bus, contract.PolicyAuditList, r)
}

// deliveries reads what became of text messages.
func (d *desk) deliveries(ctx context.Context, s session, r contract.DeliveriesRequest) (contract.DeliveriesPage, error) {
	if err := d.master(ctx, s); err != nil {
		return contract.DeliveriesPage{}, err
	}
	r.Portal = s.Portal
	return bus.Request(ctx, d.bus, contract.SMSDeliveries, r)
}

// traffic reads how text messages to each country fare.
func (d *desk) traffic(ctx context.Context, s session) (contract.TrafficReply, error) {
	if err := d.master(ctx, s); err != nil {
		return contract.TrafficReply{}, err
	}
	return bus.Request(ctx, d.bus, contract.SMSTraffic, contract.TrafficRequest{Portal: s.Portal})
}

// organizations lists companies whose name begins with a text, in the order of their names.
func (d *desk) organizations(ctx context.Context, s session, query, after string, limit int) (organizationsPage, error) {
	if err := d.master(ctx, s); err != nil {
		return organizationsPage{}, err
	}
	at, err := parseCursor(after, 1)
	if err != nil {
		return organizationsPage{}, err
	}
	switch {
	case limit == 0:
		limit = pageDefault
	case limit < 0 || limit > pageMost:
		return organizationsPage{}, invalid("limit", "A page has 1 to %d organizations.", pageMost)
	}
	found, err := d.accounts.companies(ctx, s.Portal, fold(query), at.Key, int64(limit+1))
	if err != nil {
		return organizationsPage{}, err
	}
	page := organizationsPage{Items: []organizationInfo{}}
	for i, o := range found {
		if i == limit {
			page.Next = cursor{Key: found[i-1].Key}.String()
			break
		}
		n, err := d.accounts.size(ctx, span{{"portal", s.Portal}, {"organization", o.Name}})
		if err != nil {
			return organizationsPage{}, err
		}
		page.Items = append(page.Items, organizationInfo{o.Name, n})
	}
	return page, nil
}
