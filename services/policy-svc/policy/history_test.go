package policy_test

import (
	"flag"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"sallyport/pkg/contract"
)

// model is what an admin would say happened, with no generations: what dies is struck out at once.
type model struct {
	settings contract.Settings
	people   map[string]*modelPerson
}

type modelPerson struct {
	living  map[contract.Factor]contract.FactorInfo
	skipped bool
	// pending are enrolments that were begun and may still be told of; those that died meanwhile are gone from it.
	pending map[string]contract.Factor
	resets  map[string]bool
}

func (m *model) change(s contract.Settings) {
	if m.settings.Version > 0 {
		if m.settings.Internal.Mode == off && s.Internal.Mode != off {
			m.kill(contract.FactorTOTP)
		}
		if m.settings.Organizations.Mode == off && s.Organizations.Mode != off {
			m.kill(contract.FactorSMS)
		}
	} else { // what was begun before there were rules was begun under none
		m.kill(contract.FactorTOTP)
		m.kill(contract.FactorSMS)
	}
	if !s.Organizations.AllowOptOut {
		for _, p := range m.people {
			p.skipped = false
		}
	}
	s.Version = m.settings.Version + 1
	m.settings = s
}

func (m *model) kill(f contract.Factor) {
	for _, p := range m.people {
		delete(p.living, f)
		for id, of := range p.pending {
			if of == f {
				delete(p.pending, id)
			}
		}
		if f == contract.FactorSMS {
			p.skipped = false
		}
	}
}

// record tells whether the enrolment counts afterwards.
func (m *model) record(p *modelPerson, info contract.FactorInfo) bool {
	if _, ok := p.pending[info.Enrolment]; !ok {
		return false
	}
	if now, ok := p.living[info.Factor]; ok && now.Since.After(info.Since) {
		return false
	}
	if p.living[info.Factor].Enrolment != info.Enrolment {
		p.skipped = false
	}
	p.living[info.Factor] = info
	return true
}

func (m *model) reset(p *modelPerson, id string) {
	if !p.resets[id] {
		p.resets[id] = true
		p.living, p.pending, p.skipped = map[contract.Factor]contract.FactorInfo{}, map[string]contract.Factor{}, false
	}
}

func (m *model) decide(p *modelPerson, req contract.DecideRequest) string {
	mode, factor, skipped := m.settings.Internal.Mode, contract.FactorTOTP, false
	if req.Audience == contract.Organization {
		mode, factor, skipped = m.settings.Organizations.Mode, contract.FactorSMS, p.skipped
	}
	living, enrolled := p.living[factor]
	switch {
	case mode == off:
		return "allow"
	case enrolled:
		return "challenge " + living.Enrolment
	case mode == optional || skipped:
		return "allow"
	default:
		return fmt.Sprint("enroll ", req.Audience == contract.Organization && m.settings.Organizations.AllowOptOut)
	}
}

func answer(d contract.Decision) string {
	switch d.Action {
	case contract.Challenge:
		return "challenge " + d.Factors[0].Enrolment
	case contract.Enroll:
		return fmt.Sprint("enroll ", d.CanSkip)
	default:
		return "allow"
	}
}

// Whatever happens in whatever order, with news that comes late or twice, the service decides as the model does.
func TestHistories(t *testing.T) {
	// Each of a hundred histories is some hundred calls on a real bus and store; a third is enough for every day.
	if checks := flag.Lookup("rapid.checks"); checks.Value.String() == checks.DefValue {
		if err := flag.Set("rapid.checks", "33"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = flag.Set("rapid.checks", checks.DefValue) })
	}
	f := start(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		id := fmt.Sprintf("p%d", run)
		m := &model{settings: settings(0, off, off, false), people: map[string]*modelPerson{}}
		type begun struct {
			req   contract.DecideRequest
			info  contract.FactorInfo
			epoch contract.Epoch
		}
		var all []begun
		reqs := []contract.DecideRequest{
			{Account: contract.Account{Portal: id, User: "dana"}, Audience: contract.Internal},
			{Account: contract.Account{Portal: id, User: "kim"}, Audience: contract.Organization},
			{Account: contract.Account{Portal: id, User: "both"}, Audience: contract.Internal},
			{Account: contract.Account{Portal: id, User: "both"}, Audience: contract.Organization},
		}
		for _, req := range reqs {
			m.people[req.User] = &modelPerson{map[contract.Factor]contract.FactorInfo{}, false, map[string]contract.Factor{}, map[string]bool{}}
		}
		first := settings(0, off, off, false) // a portal is made with its settings
		if _, err := f.replace(id, first); err != nil {
			rt.Fatal(err)
		}
		m.change(first)
		anyone := func(rt *rapid.T) (contract.DecideRequest, *modelPerson) {
			req := rapid.SampledFrom(reqs).Draw(rt, "who")
			return req, m.people[req.User]
		}
		mode := rapid.SampledFrom([]contract.Mode{off, optional, required})
		rt.Repeat(map[string]func(*rapid.T){
			"change": func(rt *rapid.T) {
				s := settings(m.settings.Version, mode.Draw(rt, "internal"), mode.Draw(rt, "organizations"), rapid.Bool().Draw(rt, "opt out"))
				after, err := f.replace(id, s)
				if err != nil {
					rt.Fatal(err)
				}
				m.change(s)
				if after != m.settings {
					rt.Fatalf("settings are %+v, want %+v", after, m.settings)
				}
			},
			"begin": func(rt *rapid.T) {
				req, p := anyone(rt)
				info := f.info(req, fmt.Sprintf("en%d", len(all)))
				all = append(all, begun{req, info, f.decide(req).Epoch})
				p.pending[info.Enrolment] = info.Factor
			},
			"record": func(rt *rapid.T) {
				if len(all) == 0 {
					rt.Skip()
				}
				b := rapid.SampledFrom(all).Draw(rt, "enrolment")
				want := contract.Code("")
				if !m.record(m.people[b.req.User], b.info) {
					want = contract.Conflict
				}
				if err := f.record(b.req.Account, b.info, b.epoch); contract.CodeOf(err) != want {
					rt.Fatalf("recording %s: %v, want %q", b.info.Enrolment, err, want)
				}
			},
			"skip": func(rt *rapid.T) {
				req, p := anyone(rt)
				want := contract.Code("")
				if m.decide(p, req) == "enroll true" {
					p.skipped = true
				} else if req.Audience == contract.Internal || !p.skipped || p.living[contract.FactorSMS].Enrolment != "" {
					want = contract.Forbidden
				}
				if _, err := f.skip(req); contract.CodeOf(err) != want {
					rt.Fatalf("skipping: %v, want %q", err, want)
				}
			},
			"reset": func(rt *rapid.T) {
				req, p := anyone(rt)
				reset := rapid.SampledFrom([]string{"rs1", "rs2", "rs3"}).Draw(rt, "reset")
				_, err := request(t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: req.Account, Reset: reset, Actor: "u9"})
				if err != nil {
					rt.Fatal(err)
				}
				m.reset(p, reset)
			},
			"": func(rt *rapid.T) {
				req, p := anyone(rt)
				d, err := request(t.Context(), f.gateway, contract.PolicyDecide, req)
				if err != nil {
					rt.Fatal(err)
				}
				if got, want := answer(d), m.decide(p, req); got != want {
					rt.Fatalf("%s as %s: %s, want %s", req.User, req.Audience, got, want)
				}
			},
		})
	})
	if err := f.svc.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
