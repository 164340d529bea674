package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// mirror is what policy-svc and the owners of factors have told of a person: for lists, which must not ask them about
// each of a hundred thousand. It may be moments behind, and no sign-in is decided by it.
type mirror struct {
	// Rev is the revision of the standing; a higher one is newer.
	Rev int64 `bson:"rev"`
	// EnrolledIn is the population's generation in which the living factor was enrolled, SkippedIn and SkippedOptOut
	// those of the skip; 0 for none. At most one of the two is kept: the one that counts longer.
	EnrolledIn    int64           `bson:"enrolled_in"`
	SkippedIn     int64           `bson:"skipped_in"`
	SkippedOptOut int64           `bson:"skipped_opt_out"`
	Factor        contract.Factor `bson:"factor,omitempty"`
	Enrolment     string          `bson:"enrolment"`
	Label         string          `bson:"label,omitempty"`
	Since         time.Time       `bson:"since"`
	// Locked is set by a lock, and stays after its time until something says that the factor is open. LockedUntil is
	// nil where only recovery or a reset opens it.
	Locked      bool       `bson:"locked"`
	LockedUntil *time.Time `bson:"locked_until,omitempty"`
	// OpenedAt is the last unlock: an older lock that is told late changes nothing.
	OpenedAt time.Time `bson:"opened_at"`
}

func (m mirror) info() *contract.FactorInfo {
	return &contract.FactorInfo{Factor: m.Factor, Enrolment: m.Enrolment, Label: m.Label, Since: m.Since}
}

// mirrorOf is what a reply of policy-svc says.
func mirrorOf(r contract.StandingReply) mirror {
	m := mirror{Rev: r.Revision, EnrolledIn: r.EnrolledIn, SkippedIn: r.SkippedIn, SkippedOptOut: r.SkippedOptOut}
	if r.Info != nil {
		m.Factor, m.Enrolment, m.Label, m.Since = r.Info.Factor, r.Info.Enrolment, r.Info.Label, r.Info.Since
	}
	// A generation never falls: of an enrolment and a skip the older one counts for nothing any more, and of two from
	// the same generation the enrolment counts.
	if m.EnrolledIn >= m.SkippedIn {
		m.SkippedIn, m.SkippedOptOut = 0, 0
	} else {
		m.EnrolledIn = 0
	}
	return m
}

// mirrorStanding asks policy-svc about a person and writes what it says beside their account.
func (d *desk) mirrorStanding(ctx context.Context, who contract.Account) error {
	u, err := d.accounts.byID(ctx, who)
	if errors.Is(err, store.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	r, err := bus.Request(ctx, d.bus, contract.PolicyStanding, profileOf(u).decideRequest(who.Portal))
	if err != nil {
		return err
	}
	return d.accounts.reflect(ctx, who, r)
}

// follow keeps the mirror current: with what is told on the bus, for as long as the service runs.
func (d *desk) follow(ctx context.Context) error {
	err := bus.Consume(ctx, d.bus, contract.StandingChanged, bus.ConsumeOptions{}, func(ctx context.Context, f bus.Delivery[contract.StandingFact]) error {
		return d.mirrorStanding(ctx, f.Message.Account)
	})
	if err != nil {
		return err
	}
	err = bus.Consume(ctx, d.bus, contract.FactorLocked, bus.ConsumeOptions{}, func(ctx context.Context, f bus.Delivery[contract.LockFact]) error {
		return d.accounts.locked(ctx, f.Message)
	})
	if err != nil {
		return err
	}
	return bus.Consume(ctx, d.bus, contract.FactorUnlocked, bus.ConsumeOptions{}, func(ctx context.Context, f bus.Delivery[contract.UnlockFact]) error {
		return d.accounts.opened(ctx, f.Message.Account, f.Message.At)
	})
}

// arrivals notes when people last signed in, behind their backs: a sign-in does not wait for it, and of many by one
// person in a moment the last is written.
type arrivals struct {
	accounts accounts
	log      *slog.Logger

	mu      sync.Mutex
	pending map[contract.Account]lately
	wake    chan struct{}
}

// lately is a sign-in that is to be written; see accounts.arrived.
type lately struct {
	at   time.Time
	news bool
}

// and is the later of two, with the news of both.
func (l lately) and(other lately) lately {
	if l.at.Before(other.at) {
		l.at = other.at
	}
	l.news = l.news || other.news
	return l
}

func newArrivals(a accounts, log *slog.Logger) *arrivals {
	return &arrivals{accounts: a, log: log, pending: make(map[contract.Account]lately), wake: make(chan struct{}, 1)}
}

// note says that a person has signed in, and whether that is news to lists.
func (a *arrivals) note(who contract.Account, at time.Time, news bool) {
	a.mu.Lock()
	a.pending[who] = a.pending[who].and(lately{at, news})
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (a *arrivals) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			a.flush(last)
			return
		case <-a.wake:
			a.flush(ctx)
		}
	}
}

// flush writes what is pending; what fails waits for the next arrival.
func (a *arrivals) flush(ctx context.Context) {
	a.mu.Lock()
	batch := a.pending
	a.pending = make(map[contract.Account]lately)
	a.mu.Unlock()
	for who, l := range batch {
		if err := a.accounts.arrived(ctx, who, l.at, l.news); err != nil {
			a.log.Warn("last sign-in not noted yet", slog.Any("error", err))
			a.mu.Lock()
			a.pending[who] = a.pending[who].and(l)
			a.mu.Unlock()
		}
	}
}

// open puts right what a crash left half done, and begins to follow.
func (d *desk) open(ctx context.Context) error {
	all, err := d.accounts.all(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if err := d.accounts.repair(ctx, p); err != nil {
			return err
		}
	}
	return d.follow(ctx)
}
