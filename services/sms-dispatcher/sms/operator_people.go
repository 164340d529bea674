package sms

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// MovedPhone is a confirmed number on its way from one installation to another.
type MovedPhone struct {
	// Number is in E.164; see [ParseNumber].
	Number secret.String
	Since  time.Time
}

// Import keeps a number as if the person had confirmed it under this epoch, and returns what policy-svc must be told;
// no sign-in is sent to it before that. One that is active under this epoch is never replaced: it is returned instead,
// which is how an import that was cut short goes on.
func (o *Office) Import(ctx context.Context, keys *seal.Keys, who contract.Account, epoch contract.Epoch, m MovedPhone) (contract.Confirmation, error) {
	var empty contract.Confirmation
	if !named(who) {
		return empty, errNotUsable
	}
	// A code proves the number that it was sent to, which a reference names; no challenge has brought this one.
	n := number{Enrolment: bus.NewID(), Ref: "import-" + bus.NewID(), Last4: last4(m.Number.Reveal()), Epoch: epoch, Since: asKept(m.Since)}
	var err error
	if n.Phone, err = keys.Store.Seal([]byte(m.Number.Reveal()), placeOfNumber(who, n.Enrolment)); err != nil {
		return empty, err
	}
	for range 5 { // the person may be changed between the look and the write
		p, err := o.records.people.Get(ctx, personID(who))
		if errors.Is(err, store.ErrNotFound) {
			p, err = person{}, nil
		}
		if err != nil {
			return empty, err
		}
		switch was := p.Active; {
		case p.Epoch > epoch.Person:
			return empty, contract.Refuse(contract.Conflict, "The second factor was reset meanwhile.")
		case was != nil && was.Epoch.Person == epoch.Person && was.Epoch.Population >= epoch.Population:
			return confirmation(*was), nil
		}
		ok, err := o.records.adopt(ctx, who, p, n)
		if err != nil {
			return empty, err
		}
		if ok {
			return confirmation(n), nil
		}
	}
	return empty, contract.Wait(contract.Unavailable, time.Second, "Several requests came at once. Please try again.")
}

// Export opens the number of an enrolment; false where there is none of that id.
func (o *Office) Export(ctx context.Context, keys *seal.Keys, who contract.Account, enrolment string) (MovedPhone, bool, error) {
	p, err := o.records.people.Get(ctx, personID(who))
	if errors.Is(err, store.ErrNotFound) || err == nil && (p.Active == nil || p.Active.Enrolment != enrolment) {
		return MovedPhone{}, false, nil
	}
	if err != nil {
		return MovedPhone{}, false, err
	}
	e164, err := keys.Store.Open(p.Active.Phone, placeOfNumber(who, enrolment))
	if err != nil {
		return MovedPhone{}, false, fmt.Errorf("number of %s/%s, enrolment %s: %w", who.Portal, who.User, enrolment, err)
	}
	return MovedPhone{Number: secret.New(string(e164)), Since: p.Active.Since.UTC()}, true, nil
}
