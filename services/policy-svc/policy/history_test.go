package policy_test

import (
	"flag"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"sallyport/pkg/contract"
	"sallyport/services/policy-svc/policy"
)

// model is what an admin would say happened, with no generations: what dies is struck out at once.
type model struct {
	settings contract.Settings
	people   map[string]*modelPerson
}

type modelPerson struct {
	living  map[contract.Factor]contract.FactorInfo
	skipped bool
	// wish is "" for none; declined keeps those that were thought better of.
	wish     string
	declined map[string]bool
	// told is the cause of the last reset, until an enrolment counts again.
	told contract.ResetCause
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
			p.skipped, p.wish, p.declined = false, "", map[string]bool{}
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
	if p.living[info.Factor].Enrolment != info.Enrolment { // else it may have another name by now
		p.skipped, p.wish, p.declined, p.told = false, "", map[string]bool{}, ""
		p.living[info.Factor] = info
	}
	return true
}

func (m *model) reset(p *modelPerson, id string, cause contract.ResetCause) {
	if !p.resets[id] {
		*p = modelPerson{
			living: map[contract.Factor]contract.FactorInfo{}, pending: map[string]contract.Factor{}, declined: map[string]bool{},
			resets: p.resets, told: cause,
		}
		p.resets[id] = true
	}
}

// enable tells what is refused. A wish that was met or declined does not come back; nor does one that is there.
func (m *model) enable(p *modelPerson, req contract.DecideRequest, id string) contract.Code {
	_, enrolled := p.living[contract.FactorSMS]
	switch {
	case req.Audience == contract.Internal:
		return contract.Forbidden
	case p.wish == id || p.declined[id]:
		return ""
	case m.settings.Organizations.Mode == off:
		return contract.Forbidden
	case enrolled:
		return contract.Conflict
	}
	p.wish, p.skipped, p.declined = id, false, map[string]bool{} // only the last wish is remembered
	return ""
}

// skip tells what is refused.
func (m *model) skip(p *modelPerson, req contract.DecideRequest) contract.Code {
	_, enrolled := p.living[contract.FactorSMS]
	mode, contact := m.settings.Organizations.Mode, req.Audience == contract.Organization
	switch {
	case m.decide(p, req) == "enroll true":
		p.skipped = p.skipped || mode == required
		if p.wish != "" {
			p.wish, p.declined = "", map[string]bool{p.wish: true}
		}
		return ""
	case contact && !enrolled && (p.skipped || mode == optional && len(p.declined) > 0): // the same again
		return ""
	}
	return contract.Forbidden
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
		return "challenge " + living.Enrolment + " " + living.Label
	case mode == optional && req.Audience == contract.Organization && p.wish != "":
		return "enroll true"
	case mode == optional || skipped:
		return "allow"
	default:
		return fmt.Sprint("enroll ", req.Audience == contract.Organization && m.settings.Organizations.AllowOptOut)
	}
}

func answer(d contract.Decision) string {
	switch d.Action {
	case contract.Challenge:
		return "challenge " + d.Factors[0].Enrolment + " " + d.Factors[0].Label
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
		removals := 0
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
			m.people[req.User] = &modelPerson{
				living: map[contract.Factor]contract.FactorInfo{}, pending: map[string]contract.Factor{}, declined: map[string]bool{}, resets: map[string]bool{},
			}
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
				want := m.skip(p, req)
				if _, err := f.skip(req); contract.CodeOf(err) != want {
					rt.Fatalf("skipping: %v, want %q", err, want)
				}
			},
			"reset": func(rt *rapid.T) {
				req, p := anyone(rt)
				reset := rapid.SampledFrom([]string{"rs1", "rs2", "rs3"}).Draw(rt, "reset")
				cause := rapid.SampledFrom([]contract.ResetCause{contract.ResetByAdmin, contract.ResetByRecovery, contract.ResetByOperator}).Draw(rt, "cause")
				_, err := request(t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: req.Account, Reset: reset, Actor: "u9", Cause: cause})
				if err != nil {
					rt.Fatal(err)
				}
				m.reset(p, reset, cause)
			},
			"remove": func(rt *rapid.T) { // as the gateway does: where the decision lets them
				req, p := anyone(rt)
				if !f.decide(req).MayRemove {
					rt.Skip()
				}
				removals++
				reset := fmt.Sprintf("rm%d", removals)
				_, err := request(t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: req.Account, Reset: reset, Actor: req.User, Cause: contract.ResetByRemoval})
				if err != nil {
					rt.Fatal(err)
				}
				m.reset(p, reset, contract.ResetByRemoval)
			},
			"enable": func(rt *rapid.T) {
				req, p := anyone(rt)
				id := rapid.SampledFrom([]string{"w1", "w2"}).Draw(rt, "wish")
				want := m.enable(p, req, id)
				if err := f.enable(req, id); contract.CodeOf(err) != want {
					rt.Fatalf("enabling %s: %v, want %q", id, err, want)
				}
			},
			"rename": func(rt *rapid.T) {
				if len(all) == 0 {
					rt.Skip()
				}
				b := rapid.SampledFrom(all).Draw(rt, "enrolment")
				p, label, want := m.people[b.req.User], rapid.SampledFrom([]string{"Phone", "Tablet"}).Draw(rt, "label"), contract.NotFound
				if now, ok := p.living[b.info.Factor]; ok && now.Enrolment == b.info.Enrolment {
					now.Label, want = label, ""
					p.living[b.info.Factor] = now
				}
				if err := f.rename(b.info, b.req.Account, label); contract.CodeOf(err) != want {
					rt.Fatalf("renaming %s: %v, want %q", b.info.Enrolment, err, want)
				}
			},
			"": func(rt *rapid.T) {
				req, p := anyone(rt)
				d, err := request(t.Context(), f.gateway, contract.PolicyDecide, req)
				if err != nil {
					rt.Fatal(err)
				}
				if reset := d.Reset; len(d.Factors) == 0 && (reset == nil && p.told != "" || reset != nil && reset.Cause != p.told) {
					rt.Fatalf("%s is told of %+v, want %q", req.User, reset, p.told)
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
	// And the audit log of each is whole.
	log, err := policy.OpenAudit(t.Context(), f.world.DB(contract.Policy), f.world.Keys(contract.Policy))
	if err != nil {
		t.Fatal(err)
	}
	portals, err := log.Portals(t.Context())
	if err != nil || len(portals) != run {
		t.Errorf("%d portals have a log, want %d; %v", len(portals), run, err)
	}
	for _, id := range portals {
		if r, err := log.Verify(t.Context(), id, nil); err != nil || !r.Intact() {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
