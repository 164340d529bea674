package gateway

import (
	"context"
	"errors"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// account is the one that an identity has here. It is found by the identity; at the first ending the federated account
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
			u, err = f.welcome(ctx, p, x, email)
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
func (f *federation) welcome(ctx context.Context, p portal, x found, email string) (user, error) {
	key := x.identity().key()
	id, err := f.accounts.claimIdentity(ctx, p.ID, key, bus.NewID())
	if err != nil {
		return user{}, err
	}
	u := newcomer(p.ID, id, email, x.claims.displayName(email))
	u.Identity, u.Provider = key, x.provider.ID
	note := f.note(u, contract.AuditUserCreated, x.provider)
	note.Detail["email"], note.Detail["rights"] = u.Email, rights(u)
	letter, entry, err := f.desk.letter(ctx, note)
	if err != nil {
		return user{}, err
	}
	u.Outbox = map[string]bus.Letter{letter.ID: letter}
	document := u.Portal + "/" + u.User
	if err := f.svc.Outbox.Note(ctx, usersCollection, document, letter); err != nil {
		return user{}, err
	}
	if err := f.accounts.add(ctx, u, f.now()); err != nil {
		return user{}, err
	}
	f.svc.Outbox.Relay(usersCollection, document, letter)
	return u, f.desk.audited(ctx, entry)
}

// bind makes a federated account that of an identity, for good; [store.ErrNotFound] where it is somebody's by now.
func (f *federation) bind(ctx context.Context, u user, key string, p provider) (user, error) {
	now, ok, err := told(ctx, f.desk, f.accounts.users, usersCollection, u.ID, binding(key, p.ID), f.note(u, contract.AuditUserChanged, p))
	if err == nil && !ok {
		return user{}, store.ErrNotFound
	}
	return now, err
}

// note says for the audit log that an identity got its account.
func (f *federation) note(u user, what contract.AuditAction, p provider) contract.AuditNote {
	return contract.AuditNote{
		Portal: u.Portal, Action: what, Actor: u.User, User: u.User, Reason: "first sign-in with " + p.Name,
		Detail: map[string]string{"provider": p.ID, "issuer": p.Issuer}, At: f.now(),
	}
}
