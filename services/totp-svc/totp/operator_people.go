package totp

import (
	"context"
	"fmt"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
)

// MovedKey is an authenticator on its way from one installation to another.
type MovedKey struct {
	// Key is in base32; see [ParseKey].
	Key   secret.String
	Label string
	Since time.Time
}

// Import keeps an authenticator as if the person had confirmed it under this epoch, and returns what policy-svc must be
// told; nobody can use it before that. One that is active under this epoch is never replaced: it is returned instead,
// which is how an import that was cut short goes on. Codes of the present moment count as spent, because the other
// installation may have taken them.
func (o *Office) Import(ctx context.Context, keys *seal.Keys, who contract.Account, epoch contract.Epoch, m MovedKey) (contract.Confirmation, error) {
	var empty contract.Confirmation
	if err := checkAccount(who); err != nil {
		return empty, err
	}
	seed, refusal := parseSeed(m.Key.Reveal())
	if refusal != nil {
		return empty, refusal
	}
	id, enrolment := documentID(who), bus.NewID()
	sealed, err := keys.Store.Seal(seed, place(who, enrolment))
	if err != nil {
		return empty, err
	}
	a := active{
		Credential: Credential{Enrolment: enrolment, Seed: bus.NewID(), Secret: sealed, Epoch: epoch},
		Label:      m.Label, Since: asKept(m.Since),
	}
	spent := stepAt(o.now()) + window
	for range looks {
		doc, err := o.state.authenticator(ctx, id)
		if err != nil {
			return empty, err
		}
		switch was := doc.Active; {
		case doc.Person > epoch.Person:
			return empty, contract.Refuse(contract.Conflict, "The second factor was reset meanwhile.")
		case was != nil && was.Epoch.Person == epoch.Person && was.Epoch.Population >= epoch.Population:
			return was.confirmation(), nil
		}
		ok, err := o.state.adopt(ctx, id, doc, a, spent)
		if err != nil {
			return empty, err
		}
		if ok {
			return a.confirmation(), nil
		}
	}
	return empty, errBusy()
}

// Export opens the authenticator of an enrolment; false where there is none of that id.
func (o *Office) Export(ctx context.Context, keys *seal.Keys, who contract.Account, enrolment string) (MovedKey, bool, error) {
	doc, err := o.state.authenticator(ctx, documentID(who))
	if err != nil || doc.Active == nil || doc.Active.Enrolment != enrolment {
		return MovedKey{}, false, err
	}
	a := doc.Active
	seed, err := keys.Store.Open(a.Secret, place(who, a.Enrolment))
	if err != nil {
		return MovedKey{}, false, fmt.Errorf("secret of %s/%s, enrolment %s: %w", who.Portal, who.User, a.Enrolment, err)
	}
	return MovedKey{Key: secret.New(seedText(seed)), Label: a.Label, Since: a.Since.UTC()}, true, nil
}
