package gateway

import (
	"slices"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

func TestB26WhatIsOfferedWhen(t *testing.T) {
	now := time.Date(2026, time.March, 12, 10, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	challenge := outcome{signIn: signIn{Status: StatusChallenge, Factor: contract.FactorSMS, Challenge: "c1", CreatedAt: ago(time.Minute)}, requestedAt: ago(10 * time.Second), delivery: contract.DeliverySent}
	enrolment := challenge
	enrolment.Status, enrolment.CanSkip = StatusEnroll, true
	of := func(o outcome, change func(*outcome)) outcome { change(&o); return o }
	limited := func(why contract.Reason) func(*outcome) {
		return func(o *outcome) { o.Limited, o.LimitedUntil = why, now.Add(time.Minute) }
	}
	for name, c := range map[string]struct {
		o    outcome
		in   time.Duration
		ways []OtherWay
	}{
		"an app":               {of(challenge, func(o *outcome) { o.Factor = contract.FactorTOTP }), 0, nil},
		"complete":             {of(challenge, func(o *outcome) { o.Status = StatusComplete }), 0, nil},
		"no number yet":        {of(enrolment, func(o *outcome) { o.Challenge = "" }), 0, nil},
		"just sent":            {challenge, 20 * time.Second, []OtherWay{WayRecoveryCode, WaySupport}},
		"late":                 {of(challenge, func(o *outcome) { o.requestedAt = ago(30 * time.Second) }), 0, []OtherWay{WayRecoveryCode, WaySupport}},
		"just published":       {of(challenge, func(o *outcome) { o.requestedAt, o.PublishedAt = time.Time{}, now }), 30 * time.Second, []OtherWay{WayRecoveryCode, WaySupport}},
		"none sent":            {of(challenge, func(o *outcome) { o.requestedAt, o.Challenge = time.Time{}, "" }), 0, []OtherWay{WayRecoveryCode, WaySupport}},
		"failed":               {of(challenge, func(o *outcome) { o.delivery = contract.DeliveryFailed }), 0, []OtherWay{WayRecoveryCode, WaySupport}},
		"paused":               {of(challenge, func(o *outcome) { o.delivery, o.paused = contract.DeliveryQueued, true }), 0, []OtherWay{WayRecoveryCode, WaySupport}},
		"asked twice":          {of(challenge, func(o *outcome) { o.Resent = true }), 0, []OtherWay{WayRecoveryCode, WaySupport}},
		"limited":              {of(challenge, limited(contract.LimitPortal)), 0, []OtherWay{WayRecoveryCode, WaySupport}},
		"a limit that is over": {of(challenge, func(o *outcome) { o.LimitedUntil = now }), 20 * time.Second, []OtherWay{WayRecoveryCode, WaySupport}},
		"enrolment":            {enrolment, 20 * time.Second, []OtherWay{WayNewNumber, WaySkip, WaySupport}},
		"required":             {of(enrolment, func(o *outcome) { o.CanSkip = false }), 20 * time.Second, []OtherWay{WayNewNumber, WaySupport}},
		"a limited number":     {of(enrolment, limited(contract.LimitNumber)), 0, []OtherWay{WayNewNumber, WaySkip, WaySupport}},
		"a limited person":     {of(enrolment, limited(contract.LimitPerson)), 0, []OtherWay{WaySkip, WaySupport}},
		"the first is refused": {of(enrolment, func(o *outcome) { o.Challenge = ""; limited(contract.LimitNetwork)(o) }), 0, []OtherWay{WaySkip, WaySupport}},
	} {
		ways, in := otherWays(c.o, now)
		if !slices.Equal(ways, c.ways) || in != c.in {
			t.Errorf("%s: %v in %v, want %v in %v", name, ways, in, c.ways, c.in)
		}
	}
}

// Every limit has words of its own, for programs and for people.
func TestB26EveryLimitIsSaid(t *testing.T) {
	said := make(map[string]bool)
	for _, g := range contract.Guards() {
		why := contract.Reason("limit_" + string(g))
		if text, ok := limitTexts[why]; !ok || said[string(text)] {
			t.Errorf("%s is not said", why)
		}
		said[string(limitTexts[why])] = true
		if p := problemOf(&contract.Error{Code: contract.RateLimited, Reason: why, RetryAfter: 60}); p.Status != 429 || p.Reason != string(why) || p.GetHeaders().Get("Retry-After") != "60" {
			t.Errorf("%s: %+v", why, p)
		}
	}
}

// Every reason of a failure has words of its own, for the person and for their admin.
func TestB26EveryFailureIsSaid(t *testing.T) {
	for why, want := range map[contract.FailureReason][2]web.Text{
		contract.ReasonInvalidNumber: {web.DeliveryRefused, web.DoOtherWay},
		contract.ReasonOptedOut:      {web.DeliveryOptedOut, web.DoOptIn},
		contract.ReasonExpired:       {web.DeliveryExpired, web.DoAskAgain},
		contract.ReasonSuperseded:    {web.DeliveryExpired, web.DoAskAgain},
		contract.ReasonCarrier:       {web.DeliveryCarrier, web.DoTryAgain},
		contract.ReasonStopped:       {web.DeliveryStopped, web.DoChooseWay},
		contract.ReasonUnsendable:    {web.DeliveryUnsendable, web.DoTryAgain},
	} {
		said, do := deliveryText(outcome{signIn: signIn{Status: StatusChallenge}, delivery: contract.DeliveryFailed, reason: why})
		if said != want[0] || do != want[1] {
			t.Errorf("%s: %q %q, want %q", why, said, do, want)
		}
		if web.FailureText(string(why)) == "" {
			t.Errorf("%s is not said in the console", why)
		}
	}
}
