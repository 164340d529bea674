package policy

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
)

// What people say about their own second factor: not now, after all, and what it is called.

// skip writes the skip under the epoch for which it was allowed: whatever happens between the decision and the write
// raises one of the generations, and the skip counts for nothing. Where enrolment was offered at the contact's own wish,
// skipping it ends the wish and nothing more.
func (p *policy) skip(ctx context.Context, req contract.SkipRequest) (contract.Decision, error) {
	for range rounds {
		d, rules, standing, err := p.ask(ctx, req.DecideRequest)
		if err != nil {
			return contract.Decision{}, err
		}
		wish := standing.Wish
		wished := wish != nil && wish.Epoch == d.Epoch && d.Mode == contract.ModeOptional && d.MayEnroll && req.Audience == contract.Organization
		fact := contract.PersonFact{Account: req.Account, At: p.clock.Now()}
		skip := Skip{At: fact.At, Epoch: d.Epoch, OptOutGeneration: rules.Organizations.OptOutGeneration}
		id := skipID(req.Account, skip.Epoch, skip.OptOutGeneration)
		if wished {
			id = declineID(req.Account, wish.ID)
		}
		switch {
		case d.Standing == contract.Skipped:
			fact.At = standing.Skip.At
			return d, p.note(ctx, id, personNote(contract.AuditEnrolmentSkipped, fact))
		case d.Action == contract.Allow && wished && wish.Declined:
			return d, p.note(ctx, id, personNote(contract.AuditEnrolmentSkipped, fact))
		case d.Action != contract.Enroll || !d.CanSkip:
			return contract.Decision{}, contract.Refuse(contract.Forbidden, "Your portal does not let you skip this step.")
		}
		letter, err := bus.NewLetter(ctx, contract.EnrolmentSkipped, id, fact, fact.At)
		if err != nil {
			return contract.Decision{}, err
		}
		letters, err := p.moved(ctx, req.Account, standing, letter)
		if err != nil {
			return contract.Decision{}, err
		}
		if wished {
			_, err = p.state.decline(ctx, req.Account, *wish, letters)
		} else {
			_, err = p.state.skip(ctx, req.Account, skip, wish, letters)
		}
		if err != nil {
			return contract.Decision{}, err
		}
		// The next round reads what holds now: skipped, unless somebody changed the rules or reset the person.
	}
	return contract.Decision{}, busy()
}

// enable writes the wish under the epoch for which it was allowed, as skip does.
func (p *policy) enable(ctx context.Context, req contract.EnableRequest) (contract.Empty, error) {
	if !isID(req.ID, 128) {
		return contract.Empty{}, invalid("id", "is not an id")
	}
	for range rounds {
		d, _, standing, err := p.ask(ctx, req.DecideRequest)
		if err != nil {
			return contract.Empty{}, err
		}
		id, fact := enableID(req.Account, req.ID), contract.PersonFact{Account: req.Account, At: p.clock.Now()}
		switch {
		case req.Audience != contract.Organization:
			return contract.Empty{}, contract.Refuse(contract.Forbidden, "Only an organization's contacts enable text messages. Set up an authenticator app on your account page.")
		case standing.Wish != nil && standing.Wish.ID == req.ID && standing.Wish.Epoch == d.Epoch:
			fact.At = standing.Wish.At
			return contract.Empty{}, p.note(ctx, id, personNote(contract.AuditEnrolmentEnabled, fact))
		case !d.MayEnroll:
			return contract.Empty{}, contract.Refuse(contract.Forbidden, "Your portal does not ask you for a second factor, so there is nothing to enable.")
		case d.Standing == contract.Enrolled:
			return contract.Empty{}, contract.Refuse(contract.Conflict, "You have a second factor already.")
		}
		letter, err := bus.NewLetter(ctx, contract.EnrolmentEnabled, id, fact, fact.At)
		if err != nil {
			return contract.Empty{}, err
		}
		letters, err := p.moved(ctx, req.Account, standing, letter)
		if err != nil {
			return contract.Empty{}, err
		}
		if _, err := p.state.wish(ctx, req.Account, Wish{ID: req.ID, At: fact.At, Epoch: d.Epoch}, letters); err != nil {
			return contract.Empty{}, err
		}
		// The next round reads whether the wish counts.
	}
	return contract.Empty{}, busy()
}

func (p *policy) rename(ctx context.Context, req contract.RenameRequest) (contract.Empty, error) {
	if err := checkAccount(req.Account); err != nil {
		return contract.Empty{}, err
	}
	label := strings.TrimSpace(req.Label)
	switch {
	case req.Factor != contract.FactorTOTP && req.Factor != contract.FactorSMS:
		return contract.Empty{}, invalid("factor", "is none of the two")
	case !isID(req.Enrolment, 128):
		return contract.Empty{}, invalid("enrolment", "is not an id")
	case utf8.RuneCountInString(label) > contract.LongestLabel:
		return contract.Empty{}, invalid("label", fmt.Sprintf("is longer than %d characters", contract.LongestLabel))
	case strings.ContainsFunc(label, unicode.IsControl):
		return contract.Empty{}, invalid("label", "has characters that cannot be seen")
	}
	rules, standing, err := p.state.both(ctx, req.Account)
	if err != nil {
		return contract.Empty{}, err
	}
	gone := contract.Refuse(contract.NotFound, "This device is no longer enrolled.")
	e := standing.Factors[req.Factor]
	switch living := (contract.Epoch{Population: rules.of(audienceOf(req.Factor)).Generation, Person: standing.Generation}); {
	case e.ID != req.Enrolment || e.Epoch != living:
		return contract.Empty{}, gone
	case e.Label == label:
		return contract.Empty{}, nil
	}
	letters, err := p.moved(ctx, req.Account, standing)
	if err != nil {
		return contract.Empty{}, err
	}
	done, err := p.state.rename(ctx, req.Account, req.Factor, e, label, letters)
	if err == nil && !done {
		err = gone
	}
	return contract.Empty{}, err
}
