package policy_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/service/servicetest"
	"sallyport/services/policy-svc/policy"
)

func (f *fixture) enable(req contract.DecideRequest, id string) error {
	_, err := request(f.t.Context(), f.gateway, contract.PolicyEnable, contract.EnableRequest{DecideRequest: req, ID: id})
	return err
}

func (f *fixture) rename(info contract.FactorInfo, who contract.Account, label string) error {
	_, err := request(f.t.Context(), f.gateway, contract.PolicyRename, contract.RenameRequest{Account: who, Factor: info.Factor, Enrolment: info.Enrolment, Label: label})
	return err
}

func (f *fixture) standing(req contract.DecideRequest) contract.StandingReply {
	f.t.Helper()
	s, err := request(f.t.Context(), f.gateway, contract.PolicyStanding, req)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// has fails unless the audit log has an entry of this action now, not in a while: a change is in it when it is
// acknowledged.
func (f *fixture) has(a contract.AuditAction, user string) policy.Line {
	f.t.Helper()
	page, err := request(f.t.Context(), f.gateway, contract.PolicyAuditList, contract.AuditListRequest{Portal: portal, Action: a, User: user})
	if err != nil || len(page.Items) == 0 {
		f.t.Fatalf("no %s of %q: %v", a, user, err)
	}
	e := page.Items[0]
	return policy.Line{ID: e.ID, Portal: e.Portal, Action: string(e.Action), Actor: e.Actor, User: e.User, Reason: e.Reason, Request: e.Request, At: e.At, Detail: e.Detail}
}

func TestB22EnableClearsTheSkip(t *testing.T) {
	f := start(t)
	f.change(settings(0, off, required, true))
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	f.expect(guest, "allow skipped")
	for range 2 { // asked twice: once
		if err := f.enable(guest, "w1"); err != nil {
			t.Fatal(err)
		}
	}
	if d := f.expect(guest, "enroll sms not_enrolled"); !d.CanSkip {
		t.Error("who may skip may skip again")
	}
	if l := f.has(contract.AuditEnrolmentEnabled, kim.User); l.Actor != kim.User {
		t.Errorf("%+v", l)
	}
	f.enrol(guest, "en1")
	f.expect(guest, "challenge sms enrolled")
	wantCode(t, f.enable(guest, "w2"), contract.Conflict)
	f.audit(1 + 1 + 1 + 1)

	// A second skip ends the wish: it does not come back when nobody must enrol any more.
	other := guest
	other.User = "u3"
	if err := f.enable(other, "w3"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.skip(other); err != nil {
		t.Fatal(err)
	}
	f.expect(other, "allow skipped")
	f.change(settings(1, off, optional, true))
	f.expect(other, "allow skipped")
}

func TestB22EnableWhereItIsOptional(t *testing.T) {
	f := start(t)
	f.change(settings(0, optional, optional, false))
	f.expect(guest, "allow not_enrolled")
	if err := f.enable(guest, "w1"); err != nil {
		t.Fatal(err)
	}
	if d := f.expect(guest, "enroll sms not_enrolled"); !d.CanSkip {
		t.Error("a wish must not become a must")
	}
	for range 2 { // "No thanks" after all; and its answer was lost
		d, err := f.skip(guest)
		if err != nil || d.Action != contract.Allow || d.Standing != contract.NotEnrolled {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	f.has(contract.AuditEnrolmentSkipped, kim.User)
	if err := f.enable(guest, "w1"); err != nil { // an old wish, told again
		t.Fatal(err)
	}
	f.expect(guest, "allow not_enrolled")
	if err := f.enable(guest, "w2"); err != nil {
		t.Fatal(err)
	}
	f.enrol(guest, "en1")
	f.expect(guest, "challenge sms enrolled")
	f.reset(kim, "rs1") // nor does the wish outlive the enrolment that met it
	f.expect(guest, "allow not_enrolled")

	// A wish is of its time: off and on again forgets it, as it does everything.
	if err := f.enable(guest, "w3"); err != nil {
		t.Fatal(err)
	}
	f.change(settings(1, optional, off, false))
	wantCode(t, f.enable(guest, "w4"), contract.Forbidden)
	f.change(settings(2, optional, optional, false))
	f.expect(guest, "allow not_enrolled")
	wantCode(t, f.enable(staff, "w5"), contract.Forbidden)
	federated := guest
	federated.Federated = true
	wantCode(t, f.enable(federated, "w6"), contract.Forbidden)
	wantCode(t, f.enable(guest, "a.b"), contract.InvalidRequest)
}

func TestB18RenameTouchesTheLivingDeviceOnly(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	epoch := f.decide(staff).Epoch
	first := f.enrol(staff, "en1")
	before := f.standing(staff).Revision
	if err := f.rename(first, dana, "  Work phone "); err != nil {
		t.Fatal(err)
	}
	label := func() string { return f.decide(staff).Factors[0].Label }
	if got := label(); got != "Work phone" {
		t.Errorf("it is called %q", got)
	}
	if after := f.standing(staff).Revision; after <= before {
		t.Errorf("the revision is %d after %d", after, before)
	}
	// The same enrolment, recorded again by late news, keeps its new name.
	if err := f.record(dana, first, epoch); err != nil {
		t.Fatal(err)
	}
	if err := bus.Publish(t.Context(), f.totp, contract.EnrolmentConfirmed, "late", contract.EnrolmentFact{Account: dana, FactorInfo: first, Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	f.audit(1 + 1 + 1)
	if got := label(); got != "Work phone" {
		t.Errorf("late news call it %q", got)
	}
	wantCode(t, f.rename(first, kim, "x"), contract.NotFound)
	wantCode(t, f.rename(first, dana, strings.Repeat("ü", contract.LongestLabel+1)), contract.InvalidRequest)
	wantCode(t, f.rename(first, dana, "a\nb"), contract.InvalidRequest)
	if err := f.rename(first, dana, strings.Repeat("ü", contract.LongestLabel)); err != nil {
		t.Error(err)
	}
	second := f.enrol(staff, "en2")
	wantCode(t, f.rename(first, dana, "x"), contract.NotFound)
	f.reset(dana, "rs1")
	wantCode(t, f.rename(second, dana, "x"), contract.NotFound)
	third := f.enrol(staff, "en3")
	f.change(settings(1, off, required, true))
	f.change(settings(2, required, required, true))
	wantCode(t, f.rename(third, dana, "x"), contract.NotFound)
}

// The page tells a person who must enrol again when and why, until they have.
func TestB29ResetIsRememberedUntilEnrolled(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	for i, row := range []struct {
		cause  contract.ResetCause
		actor  string
		action contract.AuditAction
	}{
		{contract.ResetByAdmin, "u9", contract.AuditEnrolmentReset},
		{contract.ResetByRecovery, "recovery", contract.AuditEnrolmentReset},
		{contract.ResetByRemoval, dana.User, contract.AuditEnrolmentRemoved},
		{contract.ResetByOperator, "operator:root", contract.AuditEnrolmentReset},
	} {
		f.enrol(staff, fmt.Sprintf("en%d", i))
		if d := f.decide(staff); d.Reset != nil {
			t.Errorf("enrolled, and told of %+v", d.Reset)
		}
		f.world.Clock.Add(time.Minute)
		reset := fmt.Sprintf("rs%d", i)
		_, err := request(t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: dana, Reset: reset, Actor: row.actor, Cause: row.cause, Reason: "because", Keep: "s1"})
		if err != nil {
			t.Fatal(err)
		}
		want := &contract.ResetNote{At: f.world.Clock.Now(), Cause: row.cause}
		if diff := cmp.Diff(want, f.decide(staff).Reset); diff != "" {
			t.Error(diff)
		}
		l := f.has(row.action, dana.User)
		if l.Actor != row.actor || l.Reason != "because" || l.Detail["cause"] != string(row.cause) || l.Detail["reset"] != reset {
			t.Errorf("%+v", l)
		}
	}
	// Who has enrolled since is not told of it again, when the enrolment dies of something else.
	f.enrol(staff, "en9")
	f.change(settings(1, off, required, true))
	f.change(settings(2, required, required, true))
	if d := f.expect(staff, "enroll totp not_enrolled"); d.Reset != nil {
		t.Errorf("told of %+v", d.Reset)
	}
	_, err := request(t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: dana, Reset: "rs9", Actor: "u9", Cause: "boredom"})
	wantCode(t, err, contract.InvalidRequest)
}

// B10: whom a change hits is told from generations alone, and is what the change then does.
func TestB10RulesSayWhatAChangeWouldDo(t *testing.T) {
	f := start(t)
	ask := func(wanted *contract.Settings) contract.RulesReply {
		t.Helper()
		r, err := request(t.Context(), f.gateway, contract.PolicyRules, contract.RulesRequest{Portal: portal, Wanted: wanted})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	f.change(settings(0, required, required, true))
	f.enrol(staff, "en1")
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	now := ask(nil)
	if now.After != now.Now || now.Settings != settings(1, required, required, true) || now.Now.Internal.SkipsCount || !now.Now.Organizations.SkipsCount {
		t.Errorf("%+v", now)
	}
	counts := func(r contract.PortalRules, req contract.DecideRequest) string {
		s, rule := f.standing(req), r.Of(req.Audience)
		switch {
		case s.EnrolledIn == rule.Generation:
			return "enrolled"
		case rule.SkipsCount && s.SkippedIn == rule.Generation && s.SkippedOptOut == rule.OptOutGeneration:
			return "skipped"
		}
		return "not_enrolled"
	}
	for _, wanted := range []contract.Settings{
		settings(1, off, off, true), settings(2, required, off, false), settings(3, optional, required, true), settings(4, required, required, false),
	} {
		would := ask(&wanted)
		want := map[string]string{staff.User: counts(would.After, staff), guest.User: counts(would.After, guest)}
		f.change(wanted)
		if got := ask(nil).Now; got != would.After {
			t.Errorf("%+v, and it was to be %+v", got, would.After)
		}
		for _, req := range []contract.DecideRequest{staff, guest} {
			if got := string(f.decide(req).Standing); got != want[req.User] {
				t.Errorf("%s is %s, and was to be %s", req.User, got, want[req.User])
			}
		}
	}
	_, err := request(t.Context(), f.gateway, contract.PolicyRules, contract.RulesRequest{Portal: portal, Wanted: &contract.Settings{}})
	wantCode(t, err, contract.InvalidRequest)
}

// Every change of what is remembered of a person raises its revision and is told, and nothing else is.
func TestStandingIsToldAtEveryChange(t *testing.T) {
	f := start(t)
	var mu sync.Mutex
	told := make(map[string]int)
	err := bus.Consume(t.Context(), f.gateway, contract.StandingChanged, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[contract.StandingFact]) error {
		mu.Lock()
		defer mu.Unlock()
		told[d.Message.User]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.change(settings(0, required, required, true))
	if s := f.standing(guest); s.Revision != 0 || s.Info != nil || s.EnrolledIn != 0 || s.SkippedIn != 0 {
		t.Errorf("of a stranger: %+v", s)
	}
	last := int64(0)
	raised := func(what string, want bool) contract.StandingReply {
		t.Helper()
		s := f.standing(guest)
		if (s.Revision > last) != want {
			t.Errorf("%s: revision %d after %d", what, s.Revision, last)
		}
		last = s.Revision
		return s
	}
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	if s := raised("skip", true); s.SkippedIn != 1 || s.Decision.Standing != contract.Skipped {
		t.Errorf("%+v", s)
	}
	if err := f.enable(guest, "w1"); err != nil {
		t.Fatal(err)
	}
	if s := raised("enable", true); s.SkippedIn != 0 {
		t.Errorf("%+v", s)
	}
	info := f.enrol(guest, "en1")
	if s := raised("enrol", true); s.EnrolledIn != 1 || s.Info == nil || *s.Info != info {
		t.Errorf("%+v", s)
	}
	epoch := f.decide(guest).Epoch
	if err := f.record(kim, info, epoch); err != nil {
		t.Fatal(err)
	}
	raised("the same again", false)
	if err := f.rename(info, kim, "Mobile"); err != nil {
		t.Fatal(err)
	}
	raised("rename", true)
	f.reset(kim, "rs1")
	if s := raised("reset", true); s.EnrolledIn != 0 || s.Info != nil {
		t.Errorf("%+v", s)
	}
	f.reset(kim, "rs1")
	raised("the same reset", false)
	servicetest.Eventually(t, "five changes are told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told[kim.User] == 5 && len(told) == 1
	})
	servicetest.Eventually(t, "no letter left", func() bool { return policy.Notes(t.Context(), f.world.DB(contract.Policy)) == 0 })
}

// I7: while the audit log cannot be written nothing is acknowledged, and what is asked again is in it, once.
func TestNothingIsAcknowledgedUnaudited(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	f.enrol(staff, "en1")
	if err := f.enable(guest, "w0"); err != nil {
		t.Fatal(err)
	}
	f.audit(3)
	info := f.info(staff, "en2")
	epoch := f.decide(staff).Epoch
	ask := map[contract.AuditAction]func() error{
		contract.AuditEnrolmentSkipped: func() error {
			_, err := bus.Request(t.Context(), f.gateway, contract.PolicySkip, contract.SkipRequest{DecideRequest: guest})
			return err
		},
		contract.AuditEnrolmentConfirmed: func() error { return f.record(dana, info, epoch) },
		contract.AuditEnrolmentEnabled: func() error {
			_, err := bus.Request(t.Context(), f.gateway, contract.PolicyEnable, contract.EnableRequest{DecideRequest: contract.DecideRequest{Account: contract.Account{Portal: portal, User: "u3"}, Audience: contract.Organization}, ID: "w1"})
			return err
		},
		contract.AuditEnrolmentReset: func() error {
			_, err := bus.Request(t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: contract.Account{Portal: portal, User: "u4"}, Reset: "rs1", Actor: "u9", Cause: contract.ResetByAdmin})
			return err
		},
		contract.AuditUserCreated: func() error {
			_, err := bus.Request(t.Context(), f.gateway, contract.PolicyAudit, contract.AuditRequest{ID: "created-u5", AuditNote: contract.AuditNote{Portal: portal, Action: contract.AuditUserCreated, Actor: "u9", User: "u5", At: f.world.Clock.Now()}})
			return err
		},
	}
	block := policy.Block(t.Context(), f.world.DB(contract.Policy), portal, 4)
	if err := block(true); err != nil {
		t.Fatal(err)
	}
	change := func() error {
		_, err := bus.Request(t.Context(), f.gateway, contract.PolicyChange, contract.ChangeRequest{Portal: portal, Actor: "u9", Settings: settings(1, required, required, true)})
		return err
	}
	for a, call := range ask {
		if err := call(); err == nil {
			t.Errorf("%s is acknowledged", a)
		}
	}
	if err := change(); err == nil {
		t.Error("a change of settings is acknowledged")
	}
	if err := block(false); err != nil {
		t.Fatal(err)
	}
	for a, call := range ask {
		if err := call(); err != nil {
			t.Errorf("%s, again: %v", a, err)
		}
		if a != contract.AuditUserCreated {
			f.has(a, "")
		}
	}
	wantCode(t, change(), contract.Conflict) // it was made, and its author looks at the settings again
	f.has(contract.AuditUserCreated, "u5")
	f.audit(3 + len(ask) + 1) // the change's fact makes up for its call
}

// What an operator does while the service is down is in the audit log at once, and is told, once, when it runs again.
func TestB32OfficeWorksWithoutTheService(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	f.enrol(staff, "en1")
	if err := f.svc.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, keys := f.world.DB(contract.Policy), f.world.Keys(contract.Policy)
	office, err := policy.OpenOffice(t.Context(), db, keys)
	if err != nil {
		t.Fatal(err)
	}
	req := contract.ResetRequest{Account: dana, Reset: "glass1", Actor: "operator:root", Cause: contract.ResetByOperator, Reason: "locked out"}
	for range 2 {
		if err := office.Reset(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	created := settings(1, required, off, false)
	for range 2 { // the same call again is no conflict
		if got, err := office.CreateSettings(bus.WithCallID(t.Context(), "call1"), "contoso", settings(7, required, off, false), "operator:root"); err != nil || got != created {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	_, err = office.CreateSettings(t.Context(), "contoso", created, "operator:root")
	wantCode(t, err, contract.Conflict)
	if got, err := office.Settings(t.Context(), "contoso"); err != nil || got != created {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := office.Audit().Append(t.Context(), "glass1", contract.AuditNote{Portal: portal, Action: contract.AuditBreakGlass, Actor: "operator:root", User: dana.User, Reason: "locked out", At: f.world.Clock.Now()}); err != nil {
		t.Fatal(err)
	}
	f.audit(1 + 1 + 1 + 1 + 1)
	if err := office.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := make(chan contract.ResetFact, 8)
	err = bus.Consume(t.Context(), f.totp, contract.EnrolmentReset, bus.ConsumeOptions{}, func(_ context.Context, d bus.Delivery[contract.ResetFact]) error {
		told <- d.Message
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.world.Start(contract.Policy, policy.Start, nil)
	select {
	case got := <-told:
		if got.Account != dana || got.Cause != contract.ResetByOperator || got.Epoch != (contract.Epoch{Population: 1, Person: 1}) {
			t.Errorf("%+v", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody was told")
	}
	servicetest.Eventually(t, "no letter left", func() bool { return policy.Notes(t.Context(), db) == 0 })
	f.expect(staff, "enroll totp not_enrolled")
	f.audit(5)
	for _, name := range []string{portal, "contoso"} {
		if r, err := office.Audit().Verify(t.Context(), name, nil); err != nil || !r.Intact() {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
