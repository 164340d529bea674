package sms

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// shortHash is a name for what may stand in no field's name.
func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:12])
}

// stops are the countries that are stopped, as of the last look. A stop is for an hour: that another replica sees it two
// seconds later costs a few texts, and asking the store for each text would cost more.
type stops struct {
	mu sync.Mutex
	by map[string]traffic // by _id
}

func (s *stops) get(portal, country string, now time.Time) (traffic, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.by[trafficID(portal, country)]
	return t, t.stopped(now)
}

func (s *stops) put(t traffic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string]traffic)
	}
	s.by[t.ID] = t
}

func (s *stops) set(all []traffic) {
	by := make(map[string]traffic, len(all))
	for _, t := range all {
		by[t.ID] = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by = by
}

// askStop refuses a text to a country that is stopped.
func (d *dispatcher) askStop(portal, country string, now time.Time) error {
	t, stopped := d.stops.get(portal, country, now)
	if !stopped || d.lets(contract.GuardConversion) {
		return nil
	}
	return overLimit(contract.GuardConversion, t.StoppedUntil.Sub(now))
}

// held tells whether a text that was let through must not be sent any more, because its country was stopped meanwhile.
func (d *dispatcher) held(c challenge, now time.Time) bool {
	_, stopped := d.stops.get(c.Portal, c.Region, now)
	return stopped && !d.guards.recorded[contract.GuardConversion]
}

// count counts a text that is over, and stops its country where too few are answered.
func (d *dispatcher) countOver(ctx context.Context, c challenge, answered bool, now time.Time) error {
	if c.Region == "" {
		return nil
	}
	outcome := "unanswered"
	if answered {
		outcome = "answered"
	}
	d.metrics.settled.WithLabelValues(d.settings.Countries.label(c.Region), outcome).Inc()
	t, counts, err := d.records.over(ctx, c, answered, now)
	if err != nil || !counts {
		return err
	}
	if stale := t.stale(now); len(stale) >= store.ManyStale {
		if err := d.records.pruneTraffic(ctx, t.ID, stale); err != nil {
			d.log.Warn("old counts not removed", slog.Any("error", err))
		}
	}
	sent, got := t.fared(now)
	if !d.guards.conversion.broken(sent, got) {
		return nil
	}
	next := t
	next.Stops, next.Rest = t.Stops+1, int64(t.next(now).Seconds())
	next.StoppedUntil = now.Add(t.next(now))
	next.Since, next.LedSent, next.LedAnswered = next.StoppedUntil, sent, got
	next.Recorded = d.guards.recorded[contract.GuardConversion]
	until := next.StoppedUntil
	letter, err := bus.NewLetter(ctx, contract.TextsStopped, fmt.Sprintf("stopped-%s-%d", shortHash(t.ID), next.Stops), contract.StopFact{
		Portal: t.Portal, Country: t.Country, Sent: sent, Answered: got, Until: &until, Recorded: next.Recorded, At: now,
	}, now)
	if err != nil {
		return err
	}
	stopped, err := d.records.stop(ctx, t, next, letter)
	if err != nil || !stopped {
		return err
	}
	d.stops.put(next)
	d.log.Error("country stopped: too few codes come back", slog.String("portal", t.Portal), slog.String("country", t.Country),
		slog.Int("sent", sent), slog.Int("answered", got), slog.Time("until", until), slog.Bool("recorded", next.Recorded))
	return nil
}

// watch looks at the stops and the budget again and again, and removes idle meters.
func (d *dispatcher) watch(ctx context.Context) {
	const idleEvery = 30
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := d.lookAtStops(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("stopped countries not looked at", slog.Any("error", err))
		}
		d.lookAtBudget(ctx)
		if n%idleEvery == 0 {
			if err := d.records.meters.DropIdle(ctx, d.now()); err != nil && ctx.Err() == nil {
				d.log.Warn("idle meters not removed", slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lookAtStops reads which countries are stopped now.
func (d *dispatcher) lookAtStops(ctx context.Context) error {
	all, err := d.records.stopped(ctx, d.now())
	if err != nil {
		return err
	}
	d.stops.set(all)
	portals := make(map[string]int)
	for _, t := range all {
		if !t.Recorded {
			portals[d.settings.Countries.label(t.Country)]++
		}
	}
	for _, country := range d.settings.Countries.labels() {
		d.metrics.stopped.WithLabelValues(country).Set(float64(portals[country]))
	}
	return nil
}

// Traffic tells how the texts of a portal to each country fared.
func (o *Office) Traffic(ctx context.Context, portal string) (contract.TrafficReply, error) {
	reply := contract.TrafficReply{Countries: []contract.CountryTraffic{}}
	if !portalShape.MatchString(portal) {
		return reply, errNotUsable
	}
	all, err := o.records.countries(ctx, portal)
	if err != nil {
		return reply, err
	}
	now := o.now()
	for _, t := range all {
		one := contract.CountryTraffic{Country: t.Country}
		one.Sent, one.Answered = t.fared(now)
		if t.stopped(now) {
			until := t.StoppedUntil.UTC()
			one.Sent, one.Answered, one.StoppedUntil, one.Recorded = t.LedSent, t.LedAnswered, &until, t.Recorded
		}
		if one.Sent > 0 || one.StoppedUntil != nil {
			reply.Countries = append(reply.Countries, one)
		}
	}
	return reply, nil
}

// Resume ends the stop of a country. It returns what it tells, or nil where there was no stop, and under which id: who
// writes it into the audit log as well writes one entry.
func (o *Office) Resume(ctx context.Context, portal, country, actor, reason string) (id string, told *contract.StopFact, err error) {
	// The same rules of who and why as for an unlock; the person is nobody.
	check := contract.UnlockRequest{Account: contract.Account{Portal: portal, User: "-"}, ID: "resume", Actor: actor, Reason: reason}
	if err := checkUnlock(check); err != nil {
		return "", nil, err
	}
	country = strings.ToUpper(strings.TrimSpace(country))
	for range 5 { // it may be stopped again between the look and the write
		t, err := o.records.country(ctx, portal, country)
		now := o.now()
		if err != nil || !t.stopped(now) {
			return "", nil, err
		}
		id = fmt.Sprintf("resumed-%s-%d", shortHash(t.ID), t.Stops)
		fact := contract.StopFact{
			Portal: portal, Country: country, Sent: t.LedSent, Answered: t.LedAnswered, Actor: actor, Reason: reason, Recorded: t.Recorded, At: now,
		}
		letter, err := bus.NewLetter(ctx, contract.TextsResumed, id, fact, now)
		if err != nil {
			return "", nil, err
		}
		ok, err := o.records.resume(ctx, t, now, letter)
		if err != nil {
			return "", nil, err
		}
		if ok {
			if o.relay != nil {
				o.relay(trafficName, t.ID, letter)
			}
			return id, &fact, nil
		}
	}
	return "", nil, contract.Wait(contract.Unavailable, time.Second, "Several requests came at once. Please try again.")
}

// traffic answers [contract.SMSTraffic].
func (d *dispatcher) traffic(ctx context.Context, req contract.TrafficRequest) (contract.TrafficReply, error) {
	reply, err := d.office.Traffic(ctx, req.Portal)
	if err != nil {
		return reply, err
	}
	_, left, limited, err := d.budgetLeft(ctx, d.now())
	reply.BudgetSpent = limited && left <= 0 && !d.guards.recorded[contract.GuardBudget]
	return reply, err
}
