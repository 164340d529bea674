package policy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sallyport/pkg/bus"
	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/service"
	"sallyport/pkg/service/servicetest"
	"sallyport/services/policy-svc/policy"
)

const (
	off, optional, required = contract.ModeOff, contract.ModeOptional, contract.ModeRequired
	portal                  = "northwind"
)

var (
	dana  = contract.Account{Portal: portal, User: "u1"} // works for the vendor
	kim   = contract.Account{Portal: portal, User: "u2"} // a contact
	staff = contract.DecideRequest{Account: dana, Audience: contract.Internal}
	guest = contract.DecideRequest{Account: kim, Audience: contract.Organization}
)

// fixture is a running policy-svc with somebody to ask it.
type fixture struct {
	t     testing.TB
	world *servicetest.World
	svc   *service.Service
	// gateway asks; totp and sms tell what they did.
	gateway, totp, sms *bus.Bus
}

func start(t testing.TB) *fixture {
	w := servicetest.New(t)
	return &fixture{
		t: t, world: w, svc: w.Start(contract.Policy, policy.Start, nil),
		gateway: w.Bus(contract.AuthGateway), totp: w.Bus(contract.TOTP), sms: w.Bus(contract.SMSDispatcher),
	}
}

// request asks again while a part does not answer, as an impatient person does: every call but a change of settings may
// be repeated, and on a busy machine the store may be slower than a call's patience.
func request[Req, Rep any](ctx context.Context, b *bus.Bus, call contract.Call[Req, Rep], req Req) (Rep, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		rep, err := bus.Request(ctx, b, call, req)
		if contract.CodeOf(err) != contract.Unavailable || time.Now().After(deadline) {
			return rep, err
		}
	}
}

// replace is [contract.PolicyChange]; where nobody answered, it looks whether the change happened.
func (f *fixture) replace(portal string, s contract.Settings) (contract.Settings, error) {
	for {
		after, err := bus.Request(f.t.Context(), f.gateway, contract.PolicyChange, contract.ChangeRequest{Portal: portal, Actor: "u9", Settings: s})
		if contract.CodeOf(err) != contract.Unavailable {
			return after, err
		}
		after, err = request(f.t.Context(), f.gateway, contract.PolicySettings, contract.SettingsRequest{Portal: portal})
		if err != nil || after.Version > s.Version {
			return after, err
		}
	}
}

func settings(version int64, internal, organizations contract.Mode, allowOptOut bool) contract.Settings {
	return contract.Settings{
		Internal:      contract.PopulationSettings{Mode: internal},
		Organizations: contract.OrganizationSettings{Mode: organizations, AllowOptOut: allowOptOut},
		Version:       version,
	}
}

func (f *fixture) change(s contract.Settings) contract.Settings {
	f.t.Helper()
	after, err := f.replace(portal, s)
	if err != nil {
		f.t.Fatal(err)
	}
	return after
}

func (f *fixture) decide(req contract.DecideRequest) contract.Decision {
	f.t.Helper()
	d, err := request(f.t.Context(), f.gateway, contract.PolicyDecide, req)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// expect compares what is asked of somebody: "action factor standing".
func (f *fixture) expect(req contract.DecideRequest, want string) contract.Decision {
	f.t.Helper()
	d := f.decide(req)
	if got := strings.Join(strings.Fields(fmt.Sprint(d.Action, " ", d.Factor, " ", d.Standing)), " "); got != want {
		f.t.Fatalf("%s is asked to %q, want %q", req.User, got, want)
	}
	return d
}

func (f *fixture) record(who contract.Account, info contract.FactorInfo, e contract.Epoch) error {
	_, err := request(f.t.Context(), f.gateway, contract.PolicyRecord, contract.RecordRequest{Account: who, FactorInfo: info, Epoch: e})
	return err
}

func (f *fixture) enrol(req contract.DecideRequest, id string) contract.FactorInfo {
	f.t.Helper()
	info := f.info(req, id)
	if err := f.record(req.Account, info, f.decide(req).Epoch); err != nil {
		f.t.Fatal(err)
	}
	return info
}

func (f *fixture) info(req contract.DecideRequest, id string) contract.FactorInfo {
	factor := contract.FactorSMS
	if req.Audience == contract.Internal {
		factor = contract.FactorTOTP
	}
	f.world.Clock.Add(time.Second)
	return contract.FactorInfo{Factor: factor, Enrolment: id, Label: "Pixel 9", Since: f.world.Clock.Now()}
}

func (f *fixture) skip(req contract.DecideRequest) (contract.Decision, error) {
	return request(f.t.Context(), f.gateway, contract.PolicySkip, contract.SkipRequest{DecideRequest: req})
}

func (f *fixture) reset(who contract.Account, id string) {
	f.t.Helper()
	_, err := request(f.t.Context(), f.gateway, contract.PolicyReset, contract.ResetRequest{Account: who, Reset: id, Actor: "u9", Cause: contract.ResetByAdmin, Reason: "lost phone"})
	if err != nil {
		f.t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, want contract.Code) {
	t.Helper()
	if got := contract.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// audit waits until the audit log has a number of lines and returns them, oldest first.
func (f *fixture) audit(lines int) []policy.Line {
	f.t.Helper()
	db := f.world.DB(contract.Policy)
	var all []policy.Line
	servicetest.Eventually(f.t, fmt.Sprintf("%d audit lines", lines), func() bool {
		var err error
		if all, err = policy.AuditLines(f.t.Context(), db); err != nil {
			f.t.Fatal(err)
		}
		return len(all) >= lines
	})
	if len(all) != lines {
		f.t.Fatalf("%d audit lines, want %d: %+v", len(all), lines, all)
	}
	return all
}

// A database that lost its settings, or another one's, must not turn into "nothing is required".
func TestAPortalWithoutSettingsLetsNobodyIn(t *testing.T) {
	f := start(t)
	for _, who := range []contract.DecideRequest{staff, guest} {
		if d, err := bus.Request(t.Context(), f.gateway, contract.PolicyDecide, who); contract.CodeOf(err) != contract.Unavailable {
			t.Errorf("%s is told %+v, %v; want unavailable", who.User, d, err)
		}
	}
}

func TestB01PopulationsAreSwitchedApart(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, off, false))
	f.expect(staff, "enroll totp not_enrolled")
	f.expect(guest, "allow not_enrolled")
	f.change(settings(1, off, required, false))
	f.expect(staff, "allow not_enrolled")
	f.expect(guest, "enroll sms not_enrolled")
}

func TestB02Modes(t *testing.T) {
	f := start(t)
	f.change(settings(0, optional, off, false))
	if d := f.expect(staff, "allow not_enrolled"); !d.MayEnroll {
		t.Error("optional must let people enrol")
	}
	f.change(settings(1, required, off, false))
	f.expect(staff, "enroll totp not_enrolled")
	info := f.enrol(staff, "en1")
	d := f.expect(staff, "challenge totp enrolled")
	if diff := cmp.Diff([]contract.FactorInfo{info}, d.Factors); diff != "" {
		t.Error(diff)
	}
	if d.MayRemove {
		t.Error("what is required must not be removable")
	}
	f.change(settings(2, optional, off, false))
	if d := f.expect(staff, "challenge totp enrolled"); !d.MayRemove {
		t.Error("what is optional must be removable")
	}
}

func TestB03OnlyContactsSkipAndOnlyWhereAllowed(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, false))
	for _, req := range []contract.DecideRequest{staff, guest} {
		_, err := f.skip(req)
		wantCode(t, err, contract.Forbidden)
	}
	f.change(settings(1, required, required, true))
	_, err := f.skip(staff)
	wantCode(t, err, contract.Forbidden)
	if d := f.expect(guest, "enroll sms not_enrolled"); !d.CanSkip {
		t.Error("skipping must be offered")
	}
	d, err := f.skip(guest)
	if err != nil || d.Action != contract.Allow || d.Standing != contract.Skipped {
		t.Fatalf("%+v, %v", d, err)
	}
	f.enrol(guest, "en1") // a skip keeps nobody from enrolling
	f.expect(guest, "challenge sms enrolled")
	_, err = f.skip(guest) // and who is enrolled has nothing to skip
	wantCode(t, err, contract.Forbidden)
}

func TestB04SkipIsRememberedUntilWithdrawn(t *testing.T) {
	f := start(t)
	f.change(settings(0, off, required, true))
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.expect(guest, "allow skipped")
	}
	if _, err := f.skip(guest); err != nil { // again changes nothing
		t.Fatal(err)
	}
	f.change(settings(1, off, required, false))
	f.expect(guest, "enroll sms not_enrolled")
	f.change(settings(2, off, required, true))
	f.expect(guest, "enroll sms not_enrolled") // the old skip stays forgotten
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	f.expect(guest, "allow skipped")
	f.audit(3 + 2)
}

func TestB05OffAndOnAgainKillsEnrolments(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	begun := f.decide(staff).Epoch
	first := f.enrol(staff, "en1")
	f.enrol(guest, "en2")
	f.change(settings(1, off, required, true))
	f.expect(staff, "allow enrolled") // dead only once it is on again
	f.change(settings(2, required, required, true))
	f.expect(staff, "enroll totp not_enrolled")
	f.expect(guest, "challenge sms enrolled") // the other population is untouched

	// An enrolment begun before, told now, does not come alive, by neither way.
	wantCode(t, f.record(dana, first, begun), contract.Conflict)
	late := f.info(staff, "en3")
	wantCode(t, f.record(dana, late, begun), contract.Conflict)
	if err := bus.Publish(t.Context(), f.totp, contract.EnrolmentConfirmed, contract.ConfirmedID("en3"), contract.EnrolmentFact{Account: dana, FactorInfo: late, Epoch: begun}); err != nil {
		t.Fatal(err)
	}
	f.audit(3 + 2 + 1) // settings, two recorded, one only told of
	f.expect(staff, "enroll totp not_enrolled")
	f.enrol(staff, "en4")
	f.expect(staff, "challenge totp enrolled")

	f.change(settings(3, required, off, true))
	f.change(settings(4, required, optional, true))
	f.expect(guest, "allow not_enrolled")
	f.expect(staff, "challenge totp enrolled")
}

func TestB09FederatedPeopleAreExempt(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, false))
	for _, req := range []contract.DecideRequest{staff, guest} {
		f.expect(req, map[contract.Audience]string{contract.Internal: "enroll totp not_enrolled", contract.Organization: "enroll sms not_enrolled"}[req.Audience])
		req.Federated = true
		if d := f.expect(req, "allow exempt"); d.MayEnroll || d.CanSkip {
			t.Errorf("%+v", d)
		}
	}
}

// B11: an enrolment belongs to the account; which app asks is not even a parameter. What other accounts and other
// portals have says nothing.
func TestB11OneAccountOneEnrolment(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	f.enrol(staff, "en1")
	mainApp, clientPortal := f.world.Bus(contract.AuthGateway), f.world.Bus(contract.AuthGateway)
	for _, app := range []*bus.Bus{mainApp, clientPortal} {
		d, err := request(t.Context(), app, contract.PolicyDecide, staff)
		if err != nil || d.Action != contract.Challenge || len(d.Factors) != 1 || d.Factors[0].Enrolment != "en1" {
			t.Errorf("%+v, %v", d, err)
		}
	}
	other := staff
	other.User = "u3"
	f.expect(other, "enroll totp not_enrolled")
	other = staff
	other.Portal = "contoso"
	if _, err := f.replace("contoso", settings(0, off, off, false)); err != nil {
		t.Fatal(err)
	}
	f.expect(other, "allow not_enrolled")
	// A replacement is one enrolment too: the newer.
	f.enrol(staff, "en2")
	if d := f.decide(staff); len(d.Factors) != 1 || d.Factors[0].Enrolment != "en2" {
		t.Errorf("%+v", d.Factors)
	}
}

func TestB28ResetTouchesOnePerson(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, false))
	other := staff
	other.User = "u3"
	f.enrol(staff, "en1")
	f.enrol(other, "en2")
	f.reset(dana, "rs1")
	f.expect(staff, "enroll totp not_enrolled")
	f.expect(other, "challenge totp enrolled")
}

func TestB29ResetClearsEnrolmentAndSkipOnce(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	before := f.enrol(staff, "en1")
	epoch := f.decide(staff).Epoch
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	f.reset(dana, "rs1")
	f.reset(kim, "rs1") // the same id at another person is another reset
	f.expect(staff, "enroll totp not_enrolled")
	f.expect(guest, "enroll sms not_enrolled")
	wantCode(t, f.record(dana, before, epoch), contract.Conflict) // late news of the old enrolment
	f.expect(staff, "enroll totp not_enrolled")

	f.enrol(staff, "en2")
	f.reset(dana, "rs1") // asked again: it happened already
	f.expect(staff, "challenge totp enrolled")
	f.reset(dana, "rs2")
	f.expect(staff, "enroll totp not_enrolled")

	lines := f.audit(1 + 2 + 1 + 3) // settings, enrolments, skip, resets
	var resets []policy.Line
	for _, l := range lines {
		if l.Action == "enrolment_reset" {
			resets = append(resets, l)
		}
	}
	if len(resets) != 3 || resets[0].Actor != "u9" || resets[0].Reason != "lost phone" || resets[0].User == "" {
		t.Errorf("who, whom and why: %+v", resets)
	}
}

func TestParallelResetsAllHappenOnce(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, off, false))
	f.enrol(staff, "en1")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() { f.reset(dana, fmt.Sprintf("rs%d", i%4)) })
	}
	wg.Wait()
	if got := f.decide(staff).Epoch.Person; got != 4 {
		t.Errorf("four resets, each asked three times, raised the generation to %d", got)
	}
	f.audit(1 + 1 + 4)
}

func TestLostCallsAreMadeUpFor(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		from *bus.Bus
		req  contract.DecideRequest
	}{{f.totp, staff}, {f.sms, guest}} {
		info := f.info(row.req, "en-"+row.req.User)
		fact := contract.EnrolmentFact{Account: row.req.Account, FactorInfo: info, Epoch: f.decide(row.req).Epoch}
		if err := bus.Publish(t.Context(), row.from, contract.EnrolmentConfirmed, contract.ConfirmedID(info.Enrolment), fact); err != nil {
			t.Fatal(err)
		}
	}
	f.audit(1 + 1 + 2)
	f.expect(staff, "challenge totp enrolled")
	f.expect(guest, "challenge sms enrolled")

	// A recovery code was spent, and the reset that should follow was never asked for; then it is, late.
	if err := bus.Publish(t.Context(), f.totp, contract.FactorRecovered, "recovered-rc1", contract.RecoveryFact{Account: dana, Recovery: "rc1", CodesLeft: 9, At: f.world.Clock.Now()}); err != nil {
		t.Fatal(err)
	}
	f.audit(4 + 2) // the recovery, and the reset that it caused
	f.expect(staff, "enroll totp not_enrolled")
	f.enrol(staff, "en2")
	f.reset(dana, "recovery-rc1")
	f.expect(staff, "challenge totp enrolled")
}

func TestOldAndRepeatedNewsReviveNothing(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, off, false))
	epoch := f.decide(staff).Epoch
	first, second := f.info(staff, "en1"), f.info(staff, "en2")
	tell := func(id string, info contract.FactorInfo, e contract.Epoch) {
		t.Helper()
		if err := bus.Publish(t.Context(), f.totp, contract.EnrolmentConfirmed, id, contract.EnrolmentFact{Account: dana, FactorInfo: info, Epoch: e}); err != nil {
			t.Fatal(err)
		}
	}
	current := func(want string) {
		t.Helper()
		d := f.decide(staff)
		if got := fmt.Sprint(d.Factors); want == "" && len(d.Factors) != 0 || want != "" && (len(d.Factors) != 1 || d.Factors[0].Enrolment != want) {
			t.Fatalf("living: %s, want %q", got, want)
		}
	}
	tell("b", second, epoch)
	f.audit(2)
	tell("a", first, epoch) // out of order
	f.audit(3)
	current("en2")
	wantCode(t, f.record(dana, first, epoch), contract.Conflict)
	if err := f.record(dana, second, epoch); err != nil { // the direct call comes after its event
		t.Fatal(err)
	}
	tell("a2", first, epoch)
	tell("b2", second, epoch)
	f.audit(3 + 1 + 2)
	current("en2")
	f.reset(dana, "rs1")
	tell("a3", first, epoch)
	tell("b3", second, epoch)
	f.audit(6 + 1 + 2)
	current("")
}

func TestChangeHasOneWinner(t *testing.T) {
	f := start(t)
	f.world.Start(contract.Policy, policy.Start, nil) // a second instance
	for version := range int64(3) {
		var won, lost, unsure atomic.Int64
		var wg sync.WaitGroup
		atOnce := make(chan struct{}, 8) // a slow machine must not make them wait longer than a call's patience
		for range 50 {
			wg.Go(func() {
				atOnce <- struct{}{}
				defer func() { <-atOnce }()
				_, err := bus.Request(t.Context(), f.gateway, contract.PolicyChange, contract.ChangeRequest{Portal: portal, Actor: "u9", Settings: settings(version, required, off, false)})
				switch contract.CodeOf(err) {
				case "":
					won.Add(1)
				case contract.Conflict:
					lost.Add(1)
				case contract.Unavailable:
					unsure.Add(1) // a machine with other work may keep the winner's entry in the log from being written in time
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		now, err := request(t.Context(), f.gateway, contract.PolicySettings, contract.SettingsRequest{Portal: portal})
		if err != nil || now.Version != version+1 || won.Load() > 1 || won.Load()+unsure.Load() < 1 {
			t.Fatalf("from version %d to %d: %d won, %d lost, %d do not know; %v", version, now.Version, won.Load(), lost.Load(), unsure.Load(), err)
		}
	}
	got, err := request(t.Context(), f.gateway, contract.PolicySettings, contract.SettingsRequest{Portal: portal})
	if err != nil || got != settings(3, required, off, false) {
		t.Errorf("%+v, %v", got, err)
	}
	for i, l := range f.audit(3) {
		if l.ID != fmt.Sprintf("settings-%s-%d", portal, i+1) || l.Actor != "u9" || l.Action != "settings_changed" {
			t.Errorf("%+v", l)
		}
	}
}

func TestTwoInstancesAndRestartKeepAll(t *testing.T) {
	f := start(t)
	second, err := policy.Start(t.Context(), f.world.Env(contract.Policy, nil))
	if err != nil {
		t.Fatal(err)
	}
	f.change(settings(0, required, required, true))
	people := func(i int) contract.DecideRequest {
		return contract.DecideRequest{Account: contract.Account{Portal: portal, User: fmt.Sprintf("p%d", i)}, Audience: contract.Internal}
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			req := people(i)
			d, err := request(t.Context(), f.gateway, contract.PolicyDecide, req)
			if err != nil {
				t.Error(err)
				return
			}
			info := contract.FactorInfo{Factor: contract.FactorTOTP, Enrolment: "en" + req.User, Since: f.world.Clock.Now()}
			// The event and the call, at once, on whichever instance.
			if err := bus.Publish(t.Context(), f.totp, contract.EnrolmentConfirmed, contract.ConfirmedID(info.Enrolment), contract.EnrolmentFact{Account: req.Account, FactorInfo: info, Epoch: d.Epoch}); err != nil {
				t.Error(err)
			}
			if _, err := request(t.Context(), f.gateway, contract.PolicyRecord, contract.RecordRequest{Account: req.Account, FactorInfo: info, Epoch: d.Epoch}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	f.audit(1 + 20 + 1) // both instances share the facts
	for _, s := range []*service.Service{second, f.svc} {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, err = bus.Request(t.Context(), f.gateway, contract.PolicyDecide, staff)
	wantCode(t, err, contract.Unavailable) // fail closed: nobody decides

	f.world.Start(contract.Policy, policy.Start, nil)
	for i := range 20 {
		f.expect(people(i), "challenge totp enrolled")
	}
	f.expect(guest, "allow skipped")
	f.expect(staff, "enroll totp not_enrolled")
	f.audit(22)
}

// Every fact is one line, however often it is delivered.
func TestAuditHasEveryFactOnce(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	at := f.world.Clock.Now()
	until := at.Add(30 * time.Second)
	epoch := f.decide(staff).Epoch
	info := f.info(staff, "en1")
	ctx := bus.WithRequestID(t.Context(), "rq7")
	for range 3 {
		err := errors.Join(
			bus.Publish(ctx, f.gateway, contract.EnrolmentStarted, "started-en1", contract.EnrolmentFact{Account: dana, FactorInfo: info, Epoch: epoch}),
			bus.Publish(ctx, f.totp, contract.EnrolmentConfirmed, contract.ConfirmedID("en1"), contract.EnrolmentFact{Account: dana, FactorInfo: info, Epoch: epoch}),
			bus.Publish(ctx, f.sms, contract.ChallengeEnded, "ended-ch1", contract.ChallengeFact{Account: kim, Challenge: "ch1", Outcome: contract.OutcomeFailed, Reason: contract.ReasonOptedOut, Attempts: 1, At: at}),
			bus.Publish(ctx, f.totp, contract.FactorLocked, "locked-1", contract.LockFact{Account: dana, Factor: contract.FactorTOTP, Failures: 5, Until: &until, At: at}),
			bus.Publish(ctx, f.totp, contract.FactorRecovered, "recovered-rc1", contract.RecoveryFact{Account: dana, Recovery: "rc1", CodesLeft: 9, At: at}),
			bus.Publish(ctx, f.sms, contract.TextsLimited, "limited-1", contract.LimitFact{Account: kim, Guard: contract.GuardNumber, Subject: "xxx-xxx-9443", Limit: 10, WindowSeconds: 600, At: at}),
			bus.Publish(ctx, f.sms, contract.TextsStopped, "stopped-1", contract.StopFact{Portal: portal, Country: "GB", Sent: 60, Answered: 3, Until: &until, Recorded: true, At: at}),
			bus.Publish(ctx, f.sms, contract.TextsResumed, "resumed-1", contract.StopFact{Portal: portal, Country: "GB", Sent: 60, Answered: 3, Actor: "operator:ops", Reason: "carrier mended", At: at}),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.skip(guest); err != nil {
		t.Fatal(err)
	}
	lines := f.audit(11)
	got := make(map[string]policy.Line)
	for _, l := range lines {
		got[l.Action] = l
	}
	for action, want := range map[string]policy.Line{
		"settings_changed":    {ID: "settings-northwind-1", Portal: portal, Actor: "u9", Detail: map[string]string{"version": "1", "internal_before": "off", "internal_after": "required", "organizations_before": "off", "organizations_after": "required", "opt_out_before": "false", "opt_out_after": "true"}},
		"enrolment_started":   {ID: "started-en1", Portal: portal, User: "u1", Actor: "u1", Detail: map[string]string{"factor": "totp", "enrolment": "en1"}, Request: "rq7"},
		"enrolment_confirmed": {ID: contract.ConfirmedID("en1"), Portal: portal, User: "u1", Actor: "u1", Detail: map[string]string{"factor": "totp", "enrolment": "en1"}, Request: "rq7"},
		"enrolment_skipped":   {ID: "skip-northwind-u2-1-0-0", Portal: portal, User: "u2", Actor: "u2"},
		"enrolment_reset":     {ID: "reset-northwind-u1-recovery-rc1", Portal: portal, User: "u1", Actor: "recovery", Reason: "A recovery code was used.", Detail: map[string]string{"reset": "recovery-rc1", "cause": "recovery", "generation": "1"}, Request: "rq7"},
		"challenge_ended":     {ID: "ended-ch1", Portal: portal, User: "u2", Detail: map[string]string{"challenge": "ch1", "outcome": "failed", "reason": "opted_out", "attempts": "1"}, Request: "rq7"},
		"factor_locked":       {ID: "locked-1", Portal: portal, User: "u1", Detail: map[string]string{"factor": "totp", "failures": "5", "until": until.Format(time.RFC3339)}, Request: "rq7"},
		"factor_recovered":    {ID: "recovered-rc1", Portal: portal, User: "u1", Actor: "u1", Detail: map[string]string{"recovery": "rc1", "codes_left": "9"}, Request: "rq7"},
		"texts_limited":       {ID: "limited-1", Portal: portal, User: "u2", Detail: map[string]string{"guard": "number", "subject": "xxx-xxx-9443", "limit": "10", "window": "10m0s"}, Request: "rq7"},
		"texts_stopped":       {ID: "stopped-1", Portal: portal, Detail: map[string]string{"country": "GB", "sent": "60", "answered": "3", "until": until.Format(time.RFC3339), "recorded": "true"}, Request: "rq7"},
		"texts_resumed":       {ID: "resumed-1", Portal: portal, Actor: "operator:ops", Reason: "carrier mended", Detail: map[string]string{"country": "GB", "sent": "60", "answered": "3"}, Request: "rq7"},
	} {
		l := got[action]
		if l.At.IsZero() {
			t.Errorf("%s has no time", action)
		}
		want.Action, want.At = action, l.At
		if action != "settings_changed" && action != "enrolment_skipped" {
			want.Request = "rq7"
		}
		if diff := cmp.Diff(want, l); diff != "" {
			t.Errorf("%s: %s", action, diff)
		}
	}
	if got := policy.Notes(t.Context(), f.world.DB(contract.Policy)); got != 0 {
		servicetest.Eventually(t, "no letter left", func() bool { return policy.Notes(t.Context(), f.world.DB(contract.Policy)) == 0 })
	}
}

// A fact that nobody can use goes to the dead letters and holds nothing up.
func TestUselessFactsAreDead(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, off, false))
	err := errors.Join(
		bus.Publish(t.Context(), f.sms, contract.ChallengeEnded, "x1", contract.ChallengeFact{}),
		bus.Publish(t.Context(), f.totp, contract.EnrolmentConfirmed, "x2", contract.EnrolmentFact{Account: dana, FactorInfo: contract.FactorInfo{Factor: "carrier pigeon", Enrolment: "en1", Since: f.world.Clock.Now()}}),
		bus.Publish(t.Context(), f.totp, contract.FactorRecovered, "x3", contract.RecoveryFact{Account: dana, Recovery: "a.b$c"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	operator := f.world.Operator()
	servicetest.Eventually(t, "three dead letters", func() bool {
		dead, err := operator.DeadLetters(t.Context(), 10)
		return err == nil && len(dead) == 3
	})
	f.audit(1)
	f.expect(staff, "enroll totp not_enrolled")
}

func TestInvalidRequests(t *testing.T) {
	f := start(t)
	f.change(settings(0, required, required, true))
	info, epoch := f.info(staff, "en1"), contract.Epoch{Population: 1}
	decide := func(change func(*contract.DecideRequest)) error {
		req := staff
		change(&req)
		_, err := request(t.Context(), f.gateway, contract.PolicyDecide, req)
		return err
	}
	change := func(change func(*contract.ChangeRequest)) error {
		req := contract.ChangeRequest{Portal: portal, Actor: "u9", Settings: settings(1, required, off, false)}
		change(&req)
		_, err := bus.Request(t.Context(), f.gateway, contract.PolicyChange, req)
		return err
	}
	reset := func(change func(*contract.ResetRequest)) error {
		req := contract.ResetRequest{Account: dana, Reset: "rs1", Actor: "u9", Cause: contract.ResetByAdmin}
		change(&req)
		_, err := request(t.Context(), f.gateway, contract.PolicyReset, req)
		return err
	}
	record := func(change func(*contract.RecordRequest)) error {
		req := contract.RecordRequest{Account: dana, FactorInfo: info, Epoch: epoch}
		change(&req)
		_, err := request(t.Context(), f.gateway, contract.PolicyRecord, req)
		return err
	}
	for field, err := range map[string]error{
		"audience":                    decide(func(r *contract.DecideRequest) { r.Audience = "" }),
		"portal":                      decide(func(r *contract.DecideRequest) { r.Portal = "a/b" }),
		"user":                        decide(func(r *contract.DecideRequest) { r.User = "" }),
		"settings.internal.mode":      change(func(r *contract.ChangeRequest) { r.Settings.Internal.Mode = "" }),
		"settings.organizations.mode": change(func(r *contract.ChangeRequest) { r.Settings.Organizations.Mode = "Required" }),
		"settings.version":            change(func(r *contract.ChangeRequest) { r.Settings.Version = -1 }),
		"actor":                       change(func(r *contract.ChangeRequest) { r.Actor = "" }),
		"reset":                       reset(func(r *contract.ResetRequest) { r.Reset = "a.b" }),
		"reason":                      reset(func(r *contract.ResetRequest) { r.Reason = strings.Repeat("x", 501) }),
		"factor":                      record(func(r *contract.RecordRequest) { r.Factor = "" }),
		"enrolment":                   record(func(r *contract.RecordRequest) { r.Enrolment = "" }),
		"since":                       record(func(r *contract.RecordRequest) { r.Since = time.Time{} }),
		"label":                       record(func(r *contract.RecordRequest) { r.Label = strings.Repeat("ü", 101) }),
	} {
		wantCode(t, err, contract.InvalidRequest)
		if got := contract.AsError(err).Field; got != field {
			t.Errorf("names %q, want %q", got, field)
		}
	}
	wantCode(t, change(func(r *contract.ChangeRequest) { r.Settings.Version = 0 }), contract.Conflict)
	wantCode(t, change(func(r *contract.ChangeRequest) { r.Settings.Version = 5 }), contract.Conflict)
}

func TestMetricsAreThereFromTheStart(t *testing.T) {
	f := start(t)
	count := func() map[string]float64 {
		families, err := f.svc.Metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float64)
		for _, family := range families {
			if family.GetName() != "sallyport_policy_decisions_total" {
				continue
			}
			for _, m := range family.GetMetric() {
				var labels []string
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetValue())
				}
				slices.Sort(labels)
				out[strings.Join(labels, " ")] = m.GetCounter().GetValue()
			}
		}
		return out
	}
	if got := count(); len(got) != 6 || got["enroll internal policy-svc"] != 0 {
		t.Errorf("%v", got)
	}
	f.change(settings(0, required, off, false))
	f.expect(staff, "enroll totp not_enrolled")
	if got := count(); len(got) != 6 || got["enroll internal policy-svc"] != 1 {
		t.Errorf("%v", got)
	}
}

func TestStartNamesWhatIsWrong(t *testing.T) {
	w := servicetest.New(t)
	env := w.Env(contract.Policy, map[string]string{"NATS_URL": "", "NATS_REPLICAS": "2", "START_TIMEOUT": "soon"})
	_, err := policy.Start(t.Context(), env)
	var wrong *config.Error
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	for _, name := range []string{"NATS_URL", "NATS_REPLICAS", "START_TIMEOUT"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
	if os.Getenv("MONGODB_URI") != "" {
		return
	}
	_, err = policy.Start(t.Context(), w.Env(contract.Policy, map[string]string{"MONGODB_URI": "mongodb://eve:hunter2@127.0.0.1:1", "START_TIMEOUT": "300ms"}))
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// While the store is away nobody is let in, and nobody waits longer than three seconds to hear it.
func TestFailsClosedWithoutStore(t *testing.T) {
	w := servicetest.New(t)
	st, err := embedded.StartStore(embedded.StoreOptions{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	svc := w.Start(contract.Policy, policy.Start, map[string]string{"MONGODB_URI": st.URI()})
	f := &fixture{t: t, world: w, svc: svc, gateway: w.Bus(contract.AuthGateway)}
	f.change(settings(0, required, off, false))
	f.expect(staff, "enroll totp not_enrolled")
	if err := st.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	_, err = bus.Request(t.Context(), f.gateway, contract.PolicyDecide, staff)
	wantCode(t, err, contract.Unavailable)
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if wrong := svc.Ready(t.Context()); wrong["store"] == "" || wrong["nats"] != "" {
		t.Errorf("%v", wrong)
	}
}
