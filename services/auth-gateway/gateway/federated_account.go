package gateway

import (
	"context"
	"errors"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// account is the one that an identity has here. It is found by the identity; at the first arrival the federated account
// of the address becomes theirs, or a new one is made. An account with a password is never taken over.
func (f *federation) account(ctx context.Context, p portal, x found, email string) (user, error) {
	key := x.identity().key()
	u, err := f.accounts.byIdentity(ctx, p.ID, key)
	if err == nil && u.Identity == key {
		_, refusal := u.owns(key)
		return u, asError(refusal)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return user{}, err
	}
	// A twin who was faster changes what is found, once.
	for range 3 {
		u, err = f.accounts.byEmail(ctx, p.ID, email)
		switch {
		case errors.Is(err, store.ErrNotFound):
			u, err = f.welcome(ctx, newcomer(p.ID, x.provider.ID, key, email, x.claims.displayName(email)), x.provider)
		case err != nil:
			return user{}, err
		default:
			bind, refusal := u.owns(key)
			if refusal != nil {
				return user{}, refusal
			}
			if bind {
				u, err = f.bind(ctx, u, key, x.provider)
			}
		}
		if err == nil {
			return u, f.accounts.noteIdentity(ctx, u)
		}
		if !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrNotFound) {
			return user{}, err
		}
	}
	return user{}, contract.NotAnswering()
}

// asError keeps a nil refusal nil.
func asError(refusal *notArrived) error {
	if refusal == nil {
		return nil
	}
	return refusal
}

// welcome makes the account of a newcomer.
func (f *federation) welcome(ctx context.Context, u user, p provider) (user, error) {
	return f.audited(ctx, u, contract.AuditUserCreated, p, func(l bus.Letter) (user, error) { return f.accounts.addWith(ctx, u, l) })
}

// bind makes a federated account that of an identity, for good.
func (f *federation) bind(ctx context.Context, u user, key string, p provider) (user, error) {
	return f.audited(ctx, u, contract.AuditUserChanged, p, func(l bus.Letter) (user, error) { return f.accounts.bind(ctx, u, key, p.ID, l) })
}

// audited changes an account so that the audit log knows before anybody is told: the same write puts a letter into the
// document, which makes up for a call that fails.
func (f *federation) audited(ctx context.Context, u user, what contract.AuditAction, p provider, change func(bus.Letter) (user, error)) (user, error) {
	note := contract.AuditNote{
		Portal: u.Portal, Action: what, Actor: u.User, User: u.User, Reason: "first sign-in with " + p.Name,
		Detail: map[string]string{"provider": p.ID, "issuer": p.Issuer}, At: f.now(),
	}
	id := "account-" + bus.NewID()
	letter, err := bus.NewLetter(ctx, contract.AccountChanged, id, note, note.At)
	if err != nil {
		return user{}, err
	}
	document := u.Portal + "/" + u.User
	if err := f.svc.Outbox.Note(ctx, "users", document, letter); err != nil {
		return user{}, err
	}
	if u, err = change(letter); err != nil {
		return user{}, err
	}
	f.svc.Outbox.Relay("users", document, letter)
	_, err = bus.Request(ctx, f.svc.Bus, contract.PolicyAudit, contract.AuditRequest{ID: id, AuditNote: note})
	return u, err
}
