package policy

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"sallyport/pkg/contract"
)

var since = time.Date(2026, 3, 12, 9, 14, 0, 0, time.UTC)

// The rows that a reader should see; the next test has all of them.
func TestDecide(t *testing.T) {
	const pop, person, optOut = 3, 2, 5
	now := contract.Epoch{Population: pop, Person: person}
	rules := func(internal, organizations contract.Mode, allow bool) Rules {
		return Rules{
			Internal:      Population{Mode: internal, Generation: pop},
			Organizations: Population{Mode: organizations, Generation: pop, AllowOptOut: allow, OptOutGeneration: optOut},
			Version:       7,
		}
	}
	with := func(f contract.Factor, e contract.Epoch) Person {
		return Person{Generation: person, Factors: map[contract.Factor]Enrolment{f: {ID: "en1", Label: "Pixel 9", Since: since, Epoch: e}}}
	}
	skipped := func(e contract.Epoch, optOut int64) Person {
		return Person{Generation: person, Skip: &Skip{At: since, Epoch: e, OptOutGeneration: optOut}}
	}
	nobody := Person{Generation: person}
	wishing := func(e contract.Epoch, declined bool) Person {
		return Person{Generation: person, Wish: &Wish{ID: "w1", At: since, Epoch: e, Declined: declined}}
	}
	const (
		off, optional, required = contract.ModeOff, contract.ModeOptional, contract.ModeRequired
		totp, sms               = contract.FactorTOTP, contract.FactorSMS
	)
	staff, contact := Facts{Audience: contract.Internal}, Facts{Audience: contract.Organization}

	for _, row := range []struct {
		name   string
		rules  Rules
		person Person
		facts  Facts
		want   string // action, factor, standing, and what is possible
	}{
		{"B01 staff off, contacts required: staff pass", rules(off, required, false), nobody, staff, "allow - not_enrolled"},
		{"B01 staff required, contacts off: contacts pass", rules(required, off, false), nobody, contact, "allow - not_enrolled"},
		{"B02 optional lets pass and may enrol", rules(optional, off, false), nobody, staff, "allow - not_enrolled may_enroll"},
		{"B02 optional and enrolled asks for the code", rules(optional, off, false), with(totp, now), staff, "challenge totp enrolled may_enroll may_remove"},
		{"B02 required starts enrolment at once", rules(required, off, false), nobody, staff, "enroll totp not_enrolled may_enroll"},
		{"B02 required and enrolled asks for the code", rules(required, off, false), with(totp, now), staff, "challenge totp enrolled may_enroll"},
		{"off asks nobody, and forgets nobody", rules(off, off, false), with(totp, now), staff, "allow - enrolled may_remove"},
		{"B03 contacts may skip where it is allowed", rules(off, required, true), nobody, contact, "enroll sms not_enrolled can_skip may_enroll"},
		{"B03 contacts may not skip where it is not", rules(off, required, false), nobody, contact, "enroll sms not_enrolled may_enroll"},
		{"B03 staff never skip", rules(required, required, true), skipped(now, optOut), staff, "enroll totp not_enrolled may_enroll"},
		{"B04 a skip is remembered", rules(off, required, true), skipped(now, optOut), contact, "allow - skipped may_enroll"},
		{"B04 withdrawn opt-out forgets the skip", rules(off, required, false), skipped(now, optOut), contact, "enroll sms not_enrolled may_enroll"},
		{"B04 opt-out allowed again does not revive it", rules(off, required, true), skipped(now, optOut-1), contact, "enroll sms not_enrolled can_skip may_enroll"},
		{"B05 an enrolment of an older generation is dead", rules(required, off, false), with(totp, contract.Epoch{Population: pop - 1, Person: person}), staff, "enroll totp not_enrolled may_enroll"},
		{"B05 a skip of an older generation is dead", rules(off, required, true), skipped(contract.Epoch{Population: pop - 1, Person: person}, optOut), contact, "enroll sms not_enrolled can_skip may_enroll"},
		{"B05 a number from the future counts no more than one from the past", rules(off, required, false), with(sms, contract.Epoch{Population: pop + 1, Person: person}), contact, "enroll sms not_enrolled may_enroll"},
		{"B09 federated people are exempt", rules(required, required, false), nobody, Facts{Audience: contract.Internal, Federated: true}, "allow - exempt"},
		{"B09 federated people keep what they enrolled", rules(optional, off, false), with(totp, now), Facts{Audience: contract.Internal, Federated: true}, "allow - exempt may_remove"},
		{"B22 a wish to enrol is met where it is optional, and may be declined", rules(off, optional, false), wishing(now, false), contact, "enroll sms not_enrolled can_skip may_enroll"},
		{"B22 a declined wish is over", rules(off, optional, false), wishing(now, true), contact, "allow - not_enrolled may_enroll"},
		{"B22 a wish of an older generation is dead", rules(off, optional, false), wishing(contract.Epoch{Population: pop - 1, Person: person}, false), contact, "allow - not_enrolled may_enroll"},
		{"B22 a wish makes nobody skip what they must", rules(off, required, false), wishing(now, false), contact, "enroll sms not_enrolled may_enroll"},
		{"B22 where nobody is asked, a wish is not either", rules(off, off, false), wishing(now, false), contact, "allow - not_enrolled"},
		{"staff wish nothing: they enrol on their account page", rules(optional, off, false), wishing(now, false), staff, "allow - not_enrolled may_enroll"},
		{"B28 an enrolment before the reset is dead", rules(required, off, false), with(totp, contract.Epoch{Population: pop, Person: person - 1}), staff, "enroll totp not_enrolled may_enroll"},
		{"B29 a skip before the reset is dead", rules(off, required, true), skipped(contract.Epoch{Population: pop, Person: person - 1}, optOut), contact, "enroll sms not_enrolled can_skip may_enroll"},
		{"a text message does not serve staff", rules(required, off, false), with(sms, now), staff, "enroll totp not_enrolled may_enroll"},
		{"an app does not serve contacts", rules(off, required, false), with(totp, now), contact, "enroll sms not_enrolled may_enroll"},
		{"a portal without settings asks nobody", noRules(), Person{}, staff, "allow - not_enrolled"},
		{"a mode that cannot be read is required", Rules{}, Person{}, staff, "enroll totp not_enrolled may_enroll"},
		{"an unknown mode is required", rules("sometimes", off, false), with(totp, now), staff, "challenge totp enrolled may_enroll"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := inWords(Decide(row.rules, row.person, row.facts)); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

func inWords(d contract.Decision) string {
	factor := d.Factor
	if factor == "" {
		factor = "-"
	}
	out := fmt.Sprintf("%s %s %s", d.Action, factor, d.Standing)
	for _, may := range []struct {
		name string
		yes  bool
	}{{"can_skip", d.CanSkip}, {"may_enroll", d.MayEnroll}, {"may_remove", d.MayRemove}} {
		if may.yes {
			out += " " + may.name
		}
	}
	return out
}

// Every combination there is, against the rules as the portal's admin would say them.
func TestDecideEveryCombination(t *testing.T) {
	const gen, person, optOut = 4, 6, 2
	epochs := map[string]contract.Epoch{
		"now": {Population: gen, Person: person}, "old population": {Population: gen - 1, Person: person}, "old person": {Population: gen, Person: person - 1},
		"both old": {Population: gen - 1, Person: person - 1}, "never": {},
	}
	modes := []contract.Mode{contract.ModeOff, contract.ModeOptional, contract.ModeRequired}
	rows := 0
	for _, mode := range modes {
		for _, other := range modes { // B01: the other population's mode must make no difference
			for _, audience := range []contract.Audience{contract.Internal, contract.Organization} {
				for _, federated := range []bool{false, true} {
					for _, allow := range []bool{false, true} {
						for totp, totpEpoch := range epochs {
							for sms, smsEpoch := range epochs {
								for skip, skipEpoch := range epochs {
									for more := range 8 * 2 {
										skipOptOut := int64(optOut - more%2)
										rows++
										rules := Rules{Internal: Population{Mode: mode, Generation: gen}, Organizations: Population{Mode: other, Generation: gen}}
										if audience == contract.Organization {
											rules.Internal.Mode, rules.Organizations.Mode = other, mode
										}
										rules.Organizations.AllowOptOut, rules.Organizations.OptOutGeneration = allow, optOut
										p := Person{Generation: person, Factors: map[contract.Factor]Enrolment{}}
										if totp != "never" {
											p.Factors[contract.FactorTOTP] = Enrolment{ID: "app", Since: since, Epoch: totpEpoch}
										}
										if sms != "never" {
											p.Factors[contract.FactorSMS] = Enrolment{ID: "phone", Since: since, Epoch: smsEpoch}
										}
										if skip != "never" {
											p.Skip = &Skip{At: since, Epoch: skipEpoch, OptOutGeneration: skipOptOut}
										}
										wished := []string{"never", "now", "old population", "declined"}[more/2%4]
										if wished != "never" {
											p.Wish = &Wish{ID: "w1", At: since, Epoch: epochs[wished], Declined: wished == "declined"}
										}
										if wished == "declined" {
											p.Wish.Epoch = epochs["now"]
										}
										if more/8 == 1 {
											p.Reset = &Reset{ID: "rs1", At: since, Cause: contract.ResetByRecovery}
										}
										got := Decide(rules, p, Facts{Audience: audience, Federated: federated})
										want := oracle(situation{
											mode: mode, internal: audience == contract.Internal, federated: federated, optOut: allow,
											app: totp == "now", phone: sms == "now", declined: skip == "now" && skipOptOut == optOut,
											wishes: wished == "now", reset: p.Reset != nil,
										})
										want.Mode, want.Epoch = mode, contract.Epoch{Population: gen, Person: person}
										if !reflect.DeepEqual(got, want) {
											t.Fatalf("%s/%s %s federated=%v opt-out=%v totp=%s sms=%s skip=%s/%d wish=%s reset=%v:\ngot  %+v\nwant %+v",
												mode, other, audience, federated, allow, totp, sms, skip, skipOptOut, wished, p.Reset, got, want)
										}
									}
								}
							}
						}
					}
				}
			}
		}
	}
	if rows != 3*3*2*2*2*5*5*5*2*4*2 {
		t.Errorf("%d rows", rows)
	}
}

// situation is what is true of a person, without any counter.
type situation struct {
	mode                        contract.Mode
	internal, federated, optOut bool
	app, phone, declined        bool // that count
	wishes, reset               bool
}

// oracle says the rules a second time, one sentence after the other.
func oracle(s situation) contract.Decision {
	factor, id, has := contract.FactorSMS, "phone", s.phone
	if s.internal {
		factor, id, has = contract.FactorTOTP, "app", s.app
	}
	wishes := !s.internal && s.wishes
	declined := !s.internal && s.optOut && s.declined && !has && !wishes
	var d contract.Decision
	// Whoever has the factor of their population is shown with it.
	if has {
		d.Factors = []contract.FactorInfo{{Factor: factor, Enrolment: id, Since: since}}
	}
	// Nobody may remove what is required; everybody else may remove what they have.
	d.MayRemove = has && s.mode != contract.ModeRequired
	// Whoever signs in elsewhere is none of our business.
	if s.federated {
		d.Action, d.Standing = contract.Allow, contract.Exempt
		return d
	}
	// Whoever was reset is told so until they have enrolled again.
	if s.reset && !has {
		d.Reset = &contract.ResetNote{At: since, Cause: contract.ResetByRecovery}
	}
	d.Standing = contract.NotEnrolled
	if declined {
		d.Standing = contract.Skipped
	}
	if has {
		d.Standing = contract.Enrolled
	}
	// Off asks nobody, and there is nothing to enable.
	d.Action = contract.Allow
	if s.mode == contract.ModeOff {
		return d
	}
	d.MayEnroll = true
	// Whoever is enrolled gives a code.
	if has {
		d.Action, d.Factor = contract.Challenge, factor
		return d
	}
	// Whoever must and has not declined enrols; contacts may decline where that is allowed.
	if s.mode == contract.ModeRequired && !declined {
		d.Action, d.Factor, d.CanSkip = contract.Enroll, factor, !s.internal && s.optOut
	}
	// Whoever wishes to, though nobody must, may; and may still say no.
	if s.mode == contract.ModeOptional && wishes {
		d.Action, d.Factor, d.CanSkip = contract.Enroll, factor, true
	}
	return d
}

func TestChange(t *testing.T) {
	const off, optional, required = contract.ModeOff, contract.ModeOptional, contract.ModeRequired
	for _, row := range []struct {
		name                            string
		version                         int64
		before                          contract.Mode
		allowed                         bool
		after                           contract.Mode
		allow                           bool
		wantGeneration, wantOptOutRaise int64
	}{
		{"the first settings begin the first generation", 0, off, false, required, true, 1, 0},
		{"even when they are off", 0, off, false, off, false, 1, 0},
		{"B05 off to required raises", 3, off, false, required, false, 1, 0},
		{"B05 off to optional raises", 3, off, false, optional, false, 1, 0},
		{"switching off does not", 3, required, false, off, false, 0, 0},
		{"required to optional does not", 3, required, true, optional, true, 0, 0},
		{"optional to required does not", 3, optional, true, required, true, 0, 0},
		{"nothing changed, nothing raised", 3, required, true, required, true, 0, 0},
		{"B04 withdrawing opt-out raises", 3, required, true, required, false, 0, 1},
		{"allowing it does not", 3, required, false, required, true, 0, 0},
		{"each for itself", 3, off, true, required, false, 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := Rules{
				Internal:      Population{Mode: required, Generation: 9},
				Organizations: Population{Mode: row.before, AllowOptOut: row.allowed, Generation: 4, OptOutGeneration: 6},
				Version:       row.version,
			}
			if row.version == 0 {
				before.Internal = Population{Mode: off, Generation: 9}
			}
			after := Change(before, contract.Settings{
				Internal:      contract.PopulationSettings{Mode: before.Internal.Mode},
				Organizations: contract.OrganizationSettings{Mode: row.after, AllowOptOut: row.allow},
			})
			want := Rules{
				Internal:      before.Internal,
				Organizations: Population{Mode: row.after, AllowOptOut: row.allow, Generation: 4 + row.wantGeneration, OptOutGeneration: 6 + row.wantOptOutRaise},
				Version:       row.version + 1,
			}
			if row.version == 0 {
				want.Internal.Generation++
			}
			if after != want {
				t.Errorf("got  %+v\nwant %+v", after, want)
			}
		})
	}
}

// B01: what is done to one population never reaches the other.
func TestB01ChangeTouchesOnePopulation(t *testing.T) {
	modes := []contract.Mode{contract.ModeOff, contract.ModeOptional, contract.ModeRequired}
	start := Rules{Internal: Population{Mode: contract.ModeOff, Generation: 2}, Organizations: Population{Mode: contract.ModeOff, Generation: 5, OptOutGeneration: 1}, Version: 3}
	for _, internal := range modes {
		for _, organizations := range modes {
			both := Change(start, contract.Settings{Internal: contract.PopulationSettings{Mode: internal}, Organizations: contract.OrganizationSettings{Mode: organizations}})
			one := Change(start, contract.Settings{Internal: contract.PopulationSettings{Mode: internal}, Organizations: contract.OrganizationSettings{Mode: contract.ModeOff}})
			two := Change(start, contract.Settings{Internal: contract.PopulationSettings{Mode: contract.ModeOff}, Organizations: contract.OrganizationSettings{Mode: organizations}})
			if both.Internal != one.Internal || both.Organizations != two.Organizations || one.Organizations != start.Organizations || two.Internal != start.Internal {
				t.Errorf("%s/%s: %+v", internal, organizations, both)
			}
		}
	}
}
