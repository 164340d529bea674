package policy

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// rounds is how often a change of one document is tried against others of the same moment.
const rounds = 8

func (p *policy) decide(ctx context.Context, req contract.DecideRequest) (contract.Decision, error) {
	d, _, err := p.ask(ctx, req)
	if err == nil {
		p.metrics.decisions.WithLabelValues(string(d.Action), string(req.Audience)).Inc()
	}
	return d, err
}

func (p *policy) ask(ctx context.Context, req contract.DecideRequest) (contract.Decision, Rules, error) {
	if err := checkPerson(req); err != nil {
		return contract.Decision{}, Rules{}, err
	}
	rules, standing, err := p.state.both(ctx, req.Account)
	if err != nil {
		return contract.Decision{}, Rules{}, err
	}
	if rules.Version == 0 {
		// A portal is made with its settings. Where they are missing, the database is another one or lost its data, and
		// "nothing is required" would open every account that has a password.
		return contract.Decision{}, Rules{}, contract.Wait(contract.Unavailable, 5*time.Second, "This portal has no second-factor settings yet.")
	}
	return Decide(rules, standing.Person, Facts{Audience: req.Audience, Federated: req.Federated}), rules, nil
}

// skip writes the skip under the epoch for which it was allowed: whatever happens between the decision and the write
// raises one of the generations, and the skip counts for nothing.
func (p *policy) skip(ctx context.Context, req contract.SkipRequest) (contract.Decision, error) {
	for range rounds {
		d, rules, err := p.ask(ctx, req.DecideRequest)
		if err != nil {
			return contract.Decision{}, err
		}
		switch {
		case d.Standing == contract.Skipped:
			return d, nil
		case d.Action != contract.Enroll || !d.CanSkip:
			return contract.Decision{}, contract.Refuse(contract.Forbidden, "Your portal does not let you skip this step.")
		}
		now := p.clock.Now()
		skip := Skip{At: now, Epoch: d.Epoch, OptOutGeneration: rules.Organizations.OptOutGeneration}
		id := fmt.Sprintf("skip-%s-%s-%d-%d-%d", req.Portal, req.User, d.Epoch.Population, d.Epoch.Person, skip.OptOutGeneration)
		letter, err := bus.NewLetter(ctx, contract.EnrolmentSkipped, id, contract.PersonFact{Account: req.Account, At: now}, now)
		if err != nil {
			return contract.Decision{}, err
		}
		if _, err := p.state.skip(ctx, req.Account, skip, letter); err != nil {
			return contract.Decision{}, err
		}
		// The next round reads what holds now: skipped, unless somebody changed the rules or reset the person.
	}
	return contract.Decision{}, busy()
}

func (p *policy) record(ctx context.Context, req contract.RecordRequest) (contract.Empty, error) {
	counts, err := p.enrol(ctx, req)
	if err == nil && !counts {
		err = contract.Refuse(contract.Conflict, "Your second factor was reset while you set it up. Please set it up again.")
	}
	return contract.Empty{}, err
}

// enrol records an enrolment and tells whether it counts now. Generations only rise, so one of an older generation is
// dead for ever and is not written; one that becomes old between the reading and the writing does not count either.
func (p *policy) enrol(ctx context.Context, req contract.RecordRequest) (bool, error) {
	if err := checkAccount(req.Account); err != nil {
		return false, err
	}
	if req.Factor != contract.FactorTOTP && req.Factor != contract.FactorSMS {
		return false, invalid("factor", "is none of the two")
	}
	if !isID(req.Enrolment, 128) {
		return false, invalid("enrolment", "is not an id")
	}
	if req.Since.IsZero() {
		return false, invalid("since", "must be set")
	}
	if utf8.RuneCountInString(req.Label) > 100 {
		return false, invalid("label", "is longer than 100 characters")
	}
	rules, err := p.state.rules(ctx, req.Portal)
	if err != nil {
		return false, err
	}
	current := func(e Enrolment, person int64) bool {
		return e.ID == req.Enrolment && e.Epoch == contract.Epoch{Population: rules.of(audienceOf(req.Factor)).Generation, Person: person}
	}
	if req.Epoch.Population < rules.of(audienceOf(req.Factor)).Generation {
		return false, nil
	}
	e := Enrolment{ID: req.Enrolment, Label: req.Label, Since: req.Since.UTC(), Epoch: req.Epoch}
	done, err := p.state.record(ctx, req.Account, req.Factor, e)
	if err != nil {
		return false, err
	}
	if done {
		return current(e, req.Epoch.Person), nil
	}
	standing, err := p.state.standing(ctx, req.Account)
	return current(standing.Factors[req.Factor], standing.Generation), err
}

func (p *policy) reset(ctx context.Context, req contract.ResetRequest) (contract.Empty, error) {
	if err := checkAccount(req.Account); err != nil {
		return contract.Empty{}, err
	}
	if !isID(req.Reset, 128) {
		return contract.Empty{}, invalid("reset", "is not an id")
	}
	if err := checkActor(req.Actor); err != nil {
		return contract.Empty{}, err
	}
	if utf8.RuneCountInString(req.Reason) > 500 {
		return contract.Empty{}, invalid("reason", "is longer than 500 characters")
	}
	for range rounds {
		rules, standing, err := p.state.both(ctx, req.Account)
		if err != nil {
			return contract.Empty{}, err
		}
		if _, done := standing.Resets[req.Reset]; done {
			return contract.Empty{}, nil
		}
		now, next := p.clock.Now(), standing.Generation+1
		fact := contract.ResetFact{
			Account: req.Account, Reset: req.Reset, Actor: req.Actor, Reason: req.Reason, At: now,
			Epoch: contract.Epoch{Population: rules.of(standing.audience()).Generation, Person: next},
		}
		letter, err := bus.NewLetter(ctx, contract.EnrolmentReset, fmt.Sprintf("reset-%s-%s-%s", req.Portal, req.User, req.Reset), fact, now)
		if err != nil {
			return contract.Empty{}, err
		}
		done, err := p.state.reset(ctx, req.Account, req.Reset, next, letter)
		if done || err != nil {
			return contract.Empty{}, err
		}
		// Another reset won: this one is the next, unless it was the same.
	}
	return contract.Empty{}, busy()
}

// audience is the population that a person's remembered standing speaks of; internal when it says nothing.
func (p Person) audience() contract.Audience {
	if _, ok := p.Factors[contract.FactorSMS]; ok || p.Skip != nil {
		return contract.Organization
	}
	return contract.Internal
}

func (p *policy) settings(ctx context.Context, req contract.SettingsRequest) (contract.Settings, error) {
	if !isPortal(req.Portal) {
		return contract.Settings{}, invalid("portal", "is not the id of a portal")
	}
	doc, err := p.state.rules(ctx, req.Portal)
	return doc.public(), err
}

func (p *policy) change(ctx context.Context, req contract.ChangeRequest) (contract.Settings, error) {
	wanted := req.Settings
	switch {
	case !isPortal(req.Portal):
		return contract.Settings{}, invalid("portal", "is not the id of a portal")
	case !isMode(wanted.Internal.Mode):
		return contract.Settings{}, invalid("settings.internal.mode", "must be off, optional or required")
	case !isMode(wanted.Organizations.Mode):
		return contract.Settings{}, invalid("settings.organizations.mode", "must be off, optional or required")
	case wanted.Version < 0:
		return contract.Settings{}, invalid("settings.version", "must not be negative")
	}
	if err := checkActor(req.Actor); err != nil {
		return contract.Settings{}, err
	}
	doc, err := p.state.rules(ctx, req.Portal)
	if err != nil {
		return contract.Settings{}, err
	}
	if doc.Version == wanted.Version+1 && doc.LastCall != "" && doc.LastCall == bus.CallID(ctx) {
		return doc.public(), nil // our own answer was lost
	}
	conflict := contract.Refuse(contract.Conflict, "Somebody else changed the settings meanwhile. Please look at them again.")
	if doc.Version != wanted.Version {
		return contract.Settings{}, conflict
	}
	now, before, after := p.clock.Now(), doc.Rules, Change(doc.Rules, wanted)
	fact := contract.SettingsFact{Portal: req.Portal, Actor: req.Actor, Before: before.public(), After: after.public(), At: now}
	letter, err := bus.NewLetter(ctx, contract.SettingsChanged, fmt.Sprintf("settings-%s-%d", req.Portal, after.Version), fact, now)
	if err != nil {
		return contract.Settings{}, err
	}
	done, err := p.state.change(ctx, req.Portal, bus.CallID(ctx), before, after, letter)
	switch {
	case err != nil:
		return contract.Settings{}, err
	case !done:
		return contract.Settings{}, conflict
	}
	return after.public(), nil
}

func busy() error {
	return contract.Refuse(contract.Conflict, "Too much happened to this account at once. Please try again.")
}

// What is wrong with a request.

func invalid(field, what string) error {
	e := contract.Refuse(contract.InvalidRequest, "%s %s.", field, what)
	e.Field = field
	return e
}

func checkPerson(req contract.DecideRequest) error {
	if req.Audience != contract.Internal && req.Audience != contract.Organization {
		return invalid("audience", "must be internal or organization")
	}
	return checkAccount(req.Account)
}

func checkAccount(a contract.Account) error {
	if !isPortal(a.Portal) {
		return invalid("portal", "is not the id of a portal")
	}
	if !isID(a.User, 64) {
		return invalid("user", "is not the id of a user")
	}
	return nil
}

func checkActor(actor string) error {
	if actor == "" || len(actor) > 128 {
		return invalid("actor", "must be set, with at most 128 characters")
	}
	return nil
}

func isMode(m contract.Mode) bool {
	return m == contract.ModeOff || m == contract.ModeOptional || m == contract.ModeRequired
}

// isPortal: ids of portals are lower-case letters, digits and '-'.
func isPortal(s string) bool {
	return made(s, 63, func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' })
}

// isID: other ids are letters, digits, '-' and '_', which makes them fit for the name of a field.
func isID(s string, longest int) bool {
	return made(s, longest, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
	})
}

func made(s string, longest int, of func(byte) bool) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		if !of(s[i]) {
			return false
		}
	}
	return true
}
