package policy

import (
	"time"

	"sallyport/pkg/contract"
)

// This file holds the rules, as functions of values alone.

// Rules are a portal's settings with the counters by which enrolments and skips die all at once. The zero value is
// no rules at all; who knows of no settings uses [noRules], which are off.
type Rules struct {
	Internal      Population `bson:"internal"`
	Organizations Population `bson:"organizations"`
	// Version counts changes; 0 means that the portal has no settings yet.
	Version int64 `bson:"version"`
}

// Population is the rule of one population.
type Population struct {
	Mode contract.Mode `bson:"mode"`
	// Generation is raised when the population leaves off: what was enrolled before is dead.
	Generation int64 `bson:"generation"`
	// AllowOptOut offers "Skip for now"; only organizations may have it.
	AllowOptOut bool `bson:"allow_opt_out,omitempty"`
	// OptOutGeneration is raised when opt-out is withdrawn: what was skipped before is forgotten.
	OptOutGeneration int64 `bson:"opt_out_generation,omitempty"`
}

// Person is what is remembered of one person.
type Person struct {
	// Generation is raised by every reset.
	Generation int64                         `bson:"person"`
	Factors    map[contract.Factor]Enrolment `bson:"factors,omitempty"`
	Skip       *Skip                         `bson:"skip,omitempty"`
	// Wish is a contact's own, to enrol where nobody must, or after a skip.
	Wish *Wish `bson:"wish,omitempty"`
	// Reset is the last one, until the person enrols again.
	Reset *Reset `bson:"last_reset,omitempty"`
}

// Enrolment is a confirmed factor. It counts only under the epoch in which it was begun.
type Enrolment struct {
	ID    string         `bson:"enrolment"`
	Label string         `bson:"label,omitempty"`
	Since time.Time      `bson:"since"`
	Epoch contract.Epoch `bson:"epoch"`
}

// Skip is a remembered "Skip for now". It counts only under the epoch and the opt-out generation it was said in.
type Skip struct {
	At               time.Time      `bson:"at"`
	Epoch            contract.Epoch `bson:"epoch"`
	OptOutGeneration int64          `bson:"opt_out_generation"`
}

// Wish is a contact's "Enable 2FA SMS". It counts only under the epoch it was said in, until it is declined.
type Wish struct {
	ID       string         `bson:"id"`
	At       time.Time      `bson:"at"`
	Epoch    contract.Epoch `bson:"epoch"`
	Declined bool           `bson:"declined,omitempty"`
}

// Reset is when and why a person's factors died.
type Reset struct {
	ID    string              `bson:"id"`
	At    time.Time           `bson:"at"`
	Cause contract.ResetCause `bson:"cause"`
}

// Facts are what the asker knows of the person.
type Facts struct {
	Audience  contract.Audience
	Federated bool
}

// noRules are those of a portal without settings.
func noRules() Rules {
	return Rules{Internal: Population{Mode: contract.ModeOff}, Organizations: Population{Mode: contract.ModeOff}}
}

// of returns the population that an audience belongs to.
func (r Rules) of(a contract.Audience) Population {
	if a == contract.Internal {
		return r.Internal
	}
	return r.Organizations
}

// factorOf returns the one factor that counts for an audience.
func factorOf(a contract.Audience) contract.Factor {
	if a == contract.Internal {
		return contract.FactorTOTP
	}
	return contract.FactorSMS
}

// audienceOf returns the audience for which a factor counts.
func audienceOf(f contract.Factor) contract.Audience {
	if f == contract.FactorTOTP {
		return contract.Internal
	}
	return contract.Organization
}

// Decide tells what a person must do to sign in. A mode that is none of the three is taken for required.
func Decide(r Rules, p Person, f Facts) contract.Decision {
	pop, factor := r.of(f.Audience), factorOf(f.Audience)
	epoch := contract.Epoch{Population: pop.Generation, Person: p.Generation}
	d := contract.Decision{Mode: pop.Mode, Standing: contract.NotEnrolled, Epoch: epoch}

	e, enrolled := p.Factors[factor]
	enrolled = enrolled && e.Epoch == epoch
	optOut := f.Audience == contract.Organization && pop.AllowOptOut
	wished := f.Audience == contract.Organization && p.Wish != nil && !p.Wish.Declined && p.Wish.Epoch == epoch
	skipped := optOut && !wished && p.Skip != nil && p.Skip.Epoch == epoch && p.Skip.OptOutGeneration == pop.OptOutGeneration

	if enrolled {
		d.Factors = []contract.FactorInfo{{Factor: factor, Enrolment: e.ID, Label: e.Label, Since: e.Since}}
	}
	switch {
	case f.Federated:
		d.Standing = contract.Exempt
	case enrolled:
		d.Standing = contract.Enrolled
	case skipped:
		d.Standing = contract.Skipped
	}
	if p.Reset != nil && !enrolled && !f.Federated {
		d.Reset = &contract.ResetNote{At: p.Reset.At, Cause: p.Reset.Cause}
	}
	d.MayEnroll = !f.Federated && pop.Mode != contract.ModeOff
	d.MayRemove = enrolled && (pop.Mode == contract.ModeOff || pop.Mode == contract.ModeOptional)

	switch {
	case f.Federated || pop.Mode == contract.ModeOff:
		d.Action = contract.Allow
	case enrolled:
		d.Action, d.Factor = contract.Challenge, factor
	case pop.Mode == contract.ModeOptional && wished: // at their own wish, which they may think better of
		d.Action, d.Factor, d.CanSkip = contract.Enroll, factor, true
	case pop.Mode == contract.ModeOptional || skipped:
		d.Action = contract.Allow
	default:
		d.Action, d.Factor, d.CanSkip = contract.Enroll, factor, optOut
	}
	return d
}

// Change returns the rules after a portal's settings were replaced. Each population stands for itself.
func Change(before Rules, wanted contract.Settings) Rules {
	first := before.Version == 0
	return Rules{
		Internal:      before.Internal.change(first, wanted.Internal.Mode, false),
		Organizations: before.Organizations.change(first, wanted.Organizations.Mode, wanted.Organizations.AllowOptOut),
		Version:       before.Version + 1,
	}
}

func (p Population) change(first bool, mode contract.Mode, allowOptOut bool) Population {
	after := Population{Mode: mode, Generation: p.Generation, AllowOptOut: allowOptOut, OptOutGeneration: p.OptOutGeneration}
	if first || p.Mode == contract.ModeOff && mode != contract.ModeOff {
		after.Generation++
	}
	if p.AllowOptOut && !allowOptOut {
		after.OptOutGeneration++
	}
	return after
}

// counting tells which enrolments and skips count under these rules.
func (r Rules) counting() contract.PortalRules {
	of := func(p Population) contract.CountingRule {
		return contract.CountingRule{Mode: p.Mode, Generation: p.Generation, SkipsCount: p.AllowOptOut, OptOutGeneration: p.OptOutGeneration}
	}
	return contract.PortalRules{Internal: of(r.Internal), Organizations: of(r.Organizations)}
}

// reply tells in which generations a person of an audience enrolled and skipped, whichever count now.
func (p Person) reply(a contract.Audience) (out contract.StandingReply) {
	f := factorOf(a)
	if e, ok := p.Factors[f]; ok && e.Epoch.Person == p.Generation {
		out.EnrolledIn = e.Epoch.Population
		out.Info = &contract.FactorInfo{Factor: f, Enrolment: e.ID, Label: e.Label, Since: e.Since}
	}
	if a == contract.Organization && p.Skip != nil && p.Skip.Epoch.Person == p.Generation {
		out.SkippedIn, out.SkippedOptOut = p.Skip.Epoch.Population, p.Skip.OptOutGeneration
	}
	return out
}

// public returns the settings as an admin sees them.
func (r Rules) public() contract.Settings {
	return contract.Settings{
		Internal:      contract.PopulationSettings{Mode: r.Internal.Mode},
		Organizations: contract.OrganizationSettings{Mode: r.Organizations.Mode, AllowOptOut: r.Organizations.AllowOptOut},
		Version:       r.Version,
	}
}
