package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"sallyport/pkg/contract"
	"sallyport/services/auth-gateway/web"
)

// This file answers: what can a person do whose text message does not come?

// offerAfter is how long somebody waits for a text message before another way is offered.
const offerAfter = 30 * time.Second

// OtherWay is something a person can do instead of waiting for a text message.
type OtherWay string

// The other ways. None of them leads past the second factor where the portal requires it.
const (
	WayRecoveryCode OtherWay = "recovery_code"
	WayNewNumber    OtherWay = "new_number"
	WaySkip         OtherWay = "skip"
	WaySupport      OtherWay = "support"
)

// otherWays are what a sign-in offers besides a text message, and how long until it does: not at all for an
// authenticator app, at once when the message failed, nothing is sent for now, a limit refuses another one, or the person
// has asked for a second.
func otherWays(o outcome, now time.Time) (ways []OtherWay, in time.Duration) {
	limited := o.LimitedUntil.After(now)
	switch {
	case o.Factor != contract.FactorSMS:
		return nil, 0
	case o.Status == StatusChallenge:
		ways = []OtherWay{WayRecoveryCode}
	case o.Status == StatusEnroll && (o.Challenge != "" || limited):
		if !limited || limitedNumber[o.Limited] {
			ways = append(ways, WayNewNumber)
		}
		if o.CanSkip {
			ways = append(ways, WaySkip)
		}
	default:
		return nil, 0
	}
	ways = append(ways, WaySupport)
	if o.delivery == contract.DeliveryFailed || o.paused || limited || o.Resent {
		return ways, 0
	}
	since := o.requestedAt
	switch {
	case !since.IsZero():
	case o.Challenge != "":
		since = o.PublishedAt
	default:
		since = o.CreatedAt
	}
	return ways, max(0, since.Add(offerAfter).Sub(now))
}

// limitedNumber are the limits that another number may not meet.
var limitedNumber = map[contract.Reason]bool{
	contract.LimitNumber: true, contract.LimitPrefix: true, contract.LimitCountry: true, contract.LimitConversion: true,
}

// waysOf is what the code page offers.
func waysOf(o outcome, now time.Time) web.Ways {
	ways, in := otherWays(o, now)
	out := web.Ways{In: contract.Seconds(in)}
	if in == 0 {
		out.In = 0
	}
	for _, w := range ways {
		switch w {
		case WayRecoveryCode:
			out.Recovery = true
		case WayNewNumber:
			out.NewNumber = true
		case WaySkip:
			out.Skip = true
		case WaySupport:
		}
	}
	return out
}

// limitedBy is a sign-in that knows of the limit which a refusal tells of, if it tells of one.
func (s signIn) limitedBy(refusal *contract.Error, now time.Time) signIn {
	if refusal != nil && refusal.Code == contract.RateLimited {
		s.Limited, s.LimitedUntil = refusal.Reason, now.Add(time.Duration(max(1, refusal.RetryAfter))*time.Second)
	}
	return s
}

// noteLimit keeps in the sign-in which limit refused a text message, and until when, so that the page still says so when
// it is opened again, and offers another way. Who decides is sms-dispatcher; a lost race or a fault shows nothing.
func (f *signIns) noteLimit(ctx context.Context, s signIn, revision uint64, refusal error) signIn {
	var e *contract.Error
	if !errors.As(refusal, &e) || e.Code != contract.RateLimited {
		return s
	}
	s = s.limitedBy(e, f.now())
	if _, _, err := f.advance(ctx, s, revision, stepNothing); err != nil {
		f.log.Debug("limit not noted", slog.Any("error", err))
	}
	return s
}

// limitTexts are what a page says of each limit.
var limitTexts = map[contract.Reason]web.Text{
	contract.LimitPerson: web.LimitPerson, contract.LimitNumber: web.LimitNumber, contract.LimitPrefix: web.LimitPrefix,
	contract.LimitNetwork: web.LimitNetwork, contract.LimitCountry: web.LimitCountry, contract.LimitPortal: web.LimitPortal,
	contract.LimitConversion: web.LimitConversion, contract.LimitBudget: web.LimitBudget,
}

// limitText is what a page says of a limit.
func limitText(why contract.Reason) web.Text {
	if say, ok := limitTexts[why]; ok {
		return say
	}
	return web.LimitOther
}
