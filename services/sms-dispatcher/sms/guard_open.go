package sms

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/seal"
)

// metered is what a limit is about.
type metered struct {
	guard contract.Guard
	meter string // its _id
	shown string // as an admin may see it
}

// subjects are those that count a text, the narrowest first, and the country that it goes to. What is refused for one
// number does not move the counts of its country and portal.
func (d *dispatcher) subjects(req contract.SMSOpenRequest, e164 string) (region string, out []metered) {
	if n, err := phonenumbers.Parse(e164, ""); err == nil {
		region = phonenumbers.GetRegionCodeForNumber(n)
	}
	add := func(g contract.Guard, name, shown string) {
		if len(d.guards.limits[g]) > 0 {
			out = append(out, metered{g, req.Portal + "/" + string(g) + "/" + name, shown})
		}
	}
	hash := func(g contract.Guard, s string) string {
		return hex.EncodeToString(d.keys.Store.Hash([]byte(s), seal.Place{req.Portal, metersName, string(g)})[:16])
	}
	prefix := hash(contract.GuardPrefix, prefixOf(e164))
	add(contract.GuardNumber, hash(contract.GuardNumber, e164), mask(last4(e164)))
	// Together with the last four digits, which are shown elsewhere, a prefix would be the number: it has a name instead.
	const shownOfHash = 6
	add(contract.GuardPrefix, prefix, strings.TrimSpace(region+" "+prefix[:shownOfHash]))
	if req.Network != "" {
		add(contract.GuardNetwork, req.Network, req.Network)
	}
	if region != "" {
		add(contract.GuardCountry, region, region)
	}
	add(contract.GuardPortal, "", "")
	return region, out
}

// meteredBy are the meters of a text, to be kept with it, and the country that it goes to.
func (d *dispatcher) meteredBy(req contract.SMSOpenRequest, e164 string) (region string, meters []string) {
	region, subjects := d.subjects(req, e164)
	for _, s := range subjects {
		meters = append(meters, s.meter)
	}
	return region, meters
}

// guardOf is the guard that a meter belongs to.
func guardOf(meter string) contract.Guard {
	_, rest, _ := strings.Cut(meter, "/")
	guard, _, _ := strings.Cut(rest, "/")
	return contract.Guard(guard)
}

// networkShape is false for what is no network of ours.
func networkShape(s string) bool {
	p, err := netip.ParsePrefix(s)
	return s == "" || err == nil && p.Masked().String() == s
}

// ask asks every guard but the person's whether a text may go to this number, and counts it. It returns the subjects
// on which it was counted; on a refusal none is left.
func (d *dispatcher) ask(ctx context.Context, req contract.SMSOpenRequest, n number, now time.Time) ([]metered, error) {
	raw, err := d.keys.Store.Open(n.Phone, placeOfNumber(req.Account, n.Enrolment))
	if err != nil {
		return nil, fmt.Errorf("number: %w", err)
	}
	region, subjects := d.subjects(req, string(raw))
	// What refuses everybody anyway comes first: it costs no write. A country may have left the list since the number was
	// confirmed.
	if !slices.Contains(d.settings.Countries, region) {
		return nil, badPhone(contract.PhoneCountry, "Text messages are not sent to numbers of this country. Please sign in another way.")
	}
	if err := d.askStop(req.Portal, region, now); err != nil {
		return nil, err
	}
	if err := d.askBudget(ctx, req.Account, now); err != nil {
		return nil, err
	}
	for i, s := range subjects {
		limits := d.guards.limits[s.guard]
		before, err := d.records.meters.Count(ctx, s.meter, limits, now)
		if err != nil {
			return nil, err // whether it was counted is not known: at worst it counts until its window is over
		}
		if err := d.records.meters.Prune(ctx, before, now); err != nil {
			d.log.Warn("old counts not removed", slog.Any("error", err))
		}
		l, free, reached := before.Counts.Reached(limits, now)
		if !reached {
			continue
		}
		id := limitedID(s.guard, s.meter, l, now)
		if before.Told[l.Name()] != id {
			d.tellLimit(ctx, id, req.Account, s.guard, s.shown, l, now, func(letter bus.Letter) error {
				return d.records.tellMeter(ctx, s.meter, l, letter)
			})
		}
		if d.lets(s.guard) {
			continue
		}
		d.takeBack(ctx, subjects[:i+1], now)
		return nil, overLimit(s.guard, free.Sub(now))
	}
	return subjects, nil
}

// lets counts that a guard would refuse a text, and tells whether it only records.
func (d *dispatcher) lets(g contract.Guard) bool {
	action := "blocked"
	if d.guards.recorded[g] {
		action = "recorded"
	}
	d.metrics.guarded.WithLabelValues(string(g), action).Inc()
	return d.guards.recorded[g]
}

// takeBack takes back what a call has counted that let no text through. What fails counts until its window is over.
func (d *dispatcher) takeBack(ctx context.Context, counted []metered, at time.Time) {
	for _, s := range counted {
		if err := d.records.meters.TakeBack(ctx, s.meter, d.guards.limits[s.guard], at); err != nil {
			d.log.Warn("a text that was not let through counts", slog.String("guard", string(s.guard)), slog.Any("error", err))
		}
	}
}

// limitedID names the news that a limit was reached: one for each guard, subject and stretch of its window.
func limitedID(g contract.Guard, of string, l meter.Limit, now time.Time) string {
	return fmt.Sprintf("limited-%s-%s-%s-%d", g, shortHash(of), l.Name(), l.Stretch(now))
}

// tellLimit tells that a limit was reached. The refusal does not wait for it to work: it is told at the next one.
func (d *dispatcher) tellLimit(ctx context.Context, id string, who contract.Account, g contract.Guard, shown string, l meter.Limit, now time.Time, write func(bus.Letter) error) {
	letter, err := bus.NewLetter(ctx, contract.TextsLimited, id, contract.LimitFact{
		Account: who, Guard: g, Subject: shown, Limit: l.Most, WindowSeconds: int(l.Window.Seconds()), Recorded: d.guards.recorded[g], At: now,
	}, now)
	if err == nil {
		err = write(letter)
	}
	if err != nil {
		d.log.Warn("a limit that was reached is not told yet", slog.String("guard", string(g)), slog.Any("error", err))
	}
}

// askPerson asks the person's own limits, which are kept with the person.
func (d *dispatcher) askPerson(ctx context.Context, p person, who contract.Account, now time.Time) error {
	limits := d.guards.limits[contract.GuardPerson]
	refusal, by := p.Sends.allowed(limits, now)
	if refusal == nil || refusal.Code != contract.RateLimited {
		return asError(refusal)
	}
	if id := limitedID(contract.GuardPerson, p.ID, by, now); p.Limited != id {
		d.tellLimit(ctx, id, who, contract.GuardPerson, "", by, now, func(letter bus.Letter) error {
			return d.records.tellPerson(ctx, p.ID, letter)
		})
	}
	if !d.lets(contract.GuardPerson) {
		return refusal
	}
	refusal, _ = p.Sends.allowed(nil, now) // the wait between two texts stays
	return asError(refusal)
}

// asError keeps a nil refusal a nil error.
func asError(e *contract.Error) error {
	if e == nil {
		return nil
	}
	return e
}
