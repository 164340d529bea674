package policy

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// rounds is how often a change of one document is tried against others of the same moment.
const rounds = 8

func (p *policy) decide(ctx context.Context, req contract.DecideRequest) (contract.Decision, error) {
	d, _, _, err := p.ask(ctx, req)
	if err == nil && !req.Again {
		p.metrics.decisions.WithLabelValues(string(d.Action), string(req.Audience)).Inc()
	}
	return d, err
}

func (p *policy) ask(ctx context.Context, req contract.DecideRequest) (contract.Decision, Rules, standingDoc, error) {
	if err := checkPerson(req); err != nil {
		return contract.Decision{}, Rules{}, standingDoc{}, err
	}
	rules, standing, err := p.state.both(ctx, req.Account)
	if err == nil && rules.Version == 0 {
		// A portal is made with its settings. Where they are missing, the database is another one or lost its data, and
		// "nothing is required" would open every account that has a password.
		err = contract.Wait(contract.Unavailable, 5*time.Second, "This portal has no second-factor settings yet.")
	}
	if err != nil {
		return contract.Decision{}, Rules{}, standingDoc{}, err
	}
	return Decide(rules, standing.Person, Facts{Audience: req.Audience, Federated: req.Federated}), rules, standing, nil
}

// moved is the news that a person's standing is another, to be told together with letters about why.
func (p *policy) moved(ctx context.Context, who contract.Account, from standingDoc, why ...bus.Letter) ([]bus.Letter, error) {
	id := fmt.Sprintf("standing-%s-%s-%s", who.Portal, who.User, bus.NewID())
	news, err := bus.NewLetter(ctx, contract.StandingChanged, id, contract.StandingFact{Account: who, Revision: from.Rev + 1}, p.clock.Now())
	return append(why, news), err
}

func (p *policy) record(ctx context.Context, req contract.RecordRequest) (contract.Empty, error) {
	counts, err := p.enrol(ctx, req)
	switch {
	case err == nil && counts:
		err = p.note(ctx, contract.ConfirmedID(req.Enrolment), enrolmentNote(contract.AuditEnrolmentConfirmed, contract.EnrolmentFact(req)))
	case err == nil:
		err = contract.Refuse(contract.Conflict, "Your second factor was reset while you set it up. Please set it up again.")
	}
	return contract.Empty{}, err
}

// enrol records an enrolment and tells whether it counts now. Generations only rise, so one of an older generation is
// dead for ever and is not written; one that becomes old between the reading and the writing does not count either.
func (p *policy) enrol(ctx context.Context, req contract.RecordRequest) (bool, error) {
	if err := checkEnrolment(req); err != nil {
		return false, err
	}
	rules, standing, err := p.state.both(ctx, req.Account)
	if err != nil {
		return false, err
	}
	population := rules.of(audienceOf(req.Factor)).Generation
	current := func(e Enrolment, person int64) bool {
		return e.ID == req.Enrolment && e.Epoch == contract.Epoch{Population: population, Person: person}
	}
	switch {
	case req.Epoch.Population < population:
		return false, nil
	case current(standing.Factors[req.Factor], standing.Generation):
		return true, nil
	}
	letters, err := p.moved(ctx, req.Account, standing)
	if err != nil {
		return false, err
	}
	e := Enrolment{ID: req.Enrolment, Label: req.Label, Since: req.Since.UTC(), Epoch: req.Epoch}
	done, err := p.state.record(ctx, req.Account, req.Factor, e, letters)
	if err != nil {
		return false, err
	}
	if done {
		return current(e, req.Epoch.Person), nil
	}
	standing, err = p.state.standing(ctx, req.Account)
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
	switch req.Cause {
	case contract.ResetByAdmin, contract.ResetByRecovery, contract.ResetByRemoval, contract.ResetByOperator:
	default:
		return contract.Empty{}, invalid("cause", "is none of the four")
	}
	for range rounds {
		rules, standing, err := p.state.both(ctx, req.Account)
		if err != nil {
			return contract.Empty{}, err
		}
		begun, done := standing.Resets[req.Reset]
		fact := contract.ResetFact{
			Account: req.Account, Reset: req.Reset, Actor: req.Actor, Cause: req.Cause, Reason: req.Reason, Keep: req.Keep, At: p.clock.Now(), OfOrganization: req.OfOrganization,
			Epoch: contract.Epoch{Population: rules.of(standing.audience()).Generation, Person: begun},
		}
		if done { // an earlier attempt may have gone no further
			return contract.Empty{}, p.note(ctx, resetID(req.Account, req.Reset), resetNote(fact))
		}
		fact.Epoch.Person = standing.Generation + 1
		letter, err := bus.NewLetter(ctx, contract.EnrolmentReset, resetID(req.Account, req.Reset), fact, fact.At)
		if err != nil {
			return contract.Empty{}, err
		}
		letters, err := p.moved(ctx, req.Account, standing, letter)
		if err != nil {
			return contract.Empty{}, err
		}
		r := Reset{ID: req.Reset, At: fact.At, Cause: req.Cause}
		if done, err = p.state.reset(ctx, req.Account, req.Reset, fact.Epoch.Person, r, letters); err == nil && done {
			err = p.note(ctx, letter.ID, resetNote(fact))
		}
		if done || err != nil {
			return contract.Empty{}, err
		}
		// Another reset won: this one is the next, unless it was the same.
	}
	return contract.Empty{}, busy()
}

// audience is the population that a person's remembered standing speaks of; internal when it says nothing.
func (p Person) audience() contract.Audience {
	if _, ok := p.Factors[contract.FactorSMS]; ok || p.Skip != nil || p.Wish != nil {
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
	case wanted.Version < 0:
		return contract.Settings{}, invalid("settings.version", "must not be negative")
	}
	if err := errors.Join(checkModes("settings", wanted), checkActor(req.Actor)); err != nil {
		return contract.Settings{}, err
	}
	doc, err := p.state.rules(ctx, req.Portal)
	if err != nil {
		return contract.Settings{}, err
	}
	if doc.Version == wanted.Version+1 && doc.Last.Call != "" && doc.Last.Call == bus.CallID(ctx) { // our own answer was lost
		return doc.public(), p.note(ctx, settingsID(req.Portal, doc.Version), settingsNote(doc.Last.Fact))
	}
	conflict := contract.Refuse(contract.Conflict, "Somebody else changed the settings meanwhile. Please look at them again.")
	if doc.Version != wanted.Version {
		return contract.Settings{}, conflict
	}
	now, before, after := p.clock.Now(), doc.Rules, Change(doc.Rules, wanted)
	fact := contract.SettingsFact{Portal: req.Portal, Actor: req.Actor, Before: before.public(), After: after.public(), At: now}
	letter, err := bus.NewLetter(ctx, contract.SettingsChanged, settingsID(req.Portal, after.Version), fact, now)
	if err != nil {
		return contract.Settings{}, err
	}
	done, err := p.state.change(ctx, req.Portal, before, after, lastChange{bus.CallID(ctx), fact}, letter)
	switch {
	case err != nil:
		return contract.Settings{}, err
	case !done:
		return contract.Settings{}, conflict
	}
	return after.public(), p.note(ctx, letter.ID, settingsNote(fact))
}

// rules needs no second look at anybody: a change never touches a person's document.
func (p *policy) rules(ctx context.Context, req contract.RulesRequest) (contract.RulesReply, error) {
	if !isPortal(req.Portal) {
		return contract.RulesReply{}, invalid("portal", "is not the id of a portal")
	}
	doc, err := p.state.rules(ctx, req.Portal)
	if err != nil {
		return contract.RulesReply{}, err
	}
	now := doc.counting()
	out := contract.RulesReply{Settings: doc.public(), Now: now, After: now}
	if req.Wanted != nil {
		if err := checkModes("wanted", *req.Wanted); err != nil {
			return contract.RulesReply{}, err
		}
		out.After = Change(doc.Rules, *req.Wanted).counting()
	}
	return out, nil
}

func (p *policy) standing(ctx context.Context, req contract.DecideRequest) (contract.StandingReply, error) {
	d, _, standing, err := p.ask(ctx, req)
	out := standing.reply(req.Audience)
	out.Decision, out.Revision = d, standing.Rev
	return out, err
}

// audit appends what the gateway did.
func (p *policy) audit(ctx context.Context, req contract.AuditRequest) (contract.Empty, error) {
	return contract.Empty{}, p.note(ctx, req.ID, req.AuditNote)
}

func busy() error {
	return contract.Refuse(contract.Conflict, "Too much happened to this account at once. Please try again.")
}

// What is wrong with a request.

func checkEnrolment(req contract.RecordRequest) error {
	if err := checkAccount(req.Account); err != nil {
		return err
	}
	if req.Factor != contract.FactorTOTP && req.Factor != contract.FactorSMS {
		return invalid("factor", "is none of the two")
	}
	if !isID(req.Enrolment, 128) {
		return invalid("enrolment", "is not an id")
	}
	if req.Since.IsZero() {
		return invalid("since", "must be set")
	}
	if utf8.RuneCountInString(req.Label) > 100 {
		return invalid("label", "is longer than 100 characters")
	}
	return nil
}

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

func checkModes(of string, s contract.Settings) error {
	switch {
	case !isMode(s.Internal.Mode):
		return invalid(of+".internal.mode", "must be off, optional or required")
	case !isMode(s.Organizations.Mode):
		return invalid(of+".organizations.mode", "must be off, optional or required")
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
