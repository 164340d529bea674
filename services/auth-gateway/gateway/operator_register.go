package gateway

import (
	"context"
	"errors"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// Standing of an address that is to be imported.
const (
	// Absent: nobody has it; the account can be made.
	Absent = "absent"
	// Same: the account is there, and nothing would be changed.
	Same = "same"
	// Differs: the account is there, and says something else.
	Differs = "differs"
)

// Arrival is what an import would do about a person.
type Arrival struct {
	// State is one of the three above.
	State string
	// Account is theirs: of a new one, whose address is claimed already, or whose id the file says; otherwise empty.
	Account contract.Account
	// Fields are what differs.
	Fields []string

	was, is user
	record  PersonRecord
}

// Register is a portal's accounts for an import, with what is the same for all of them.
type Register struct {
	office *Office
	portal portal
}

// Register opens a portal's accounts for an import.
func (o *Office) Register(ctx context.Context, portalID string) (*Register, error) {
	p, err := o.accounts.portals.Get(ctx, portalID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noPortal(portalID)
	}
	if err == nil { // the gateway may not have been started yet
		err = o.db.EnsureIndexes(ctx, directoryIndexes())
	}
	return &Register{o, p}, err
}

// mostForms bounds how many forms of imported hashes a portal has: each sign-in takes the time of all.
const mostForms = 3

// Find looks for a person of a checked record, and says what an import would do, or why it cannot (invalid_request, with
// field and reason). It changes nothing.
func (r *Register) Find(ctx context.Context, record PersonRecord) (Arrival, error) {
	a := Arrival{State: Absent, record: record}
	if refusal := r.fits(record); refusal != nil {
		return a, refusal
	}
	id, err := r.holder(ctx, record.Email)
	if err != nil {
		return a, err
	}
	if id != "" {
		a.Account = contract.Account{Portal: r.portal.ID, User: id}
		u, err := r.office.accounts.byID(ctx, a.Account)
		switch {
		case err == nil && u.Email == record.Email && u.Deleted:
			return a, badRecord("email", reasonDeleting, "The account of this address is being deleted. Try again in a few minutes.")
		case err == nil && u.Email == record.Email:
			return r.compare(a, u)
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return a, err
		case err == nil: // a claim that its account does not know: of a change of address that was cut short
			a.Account = contract.Account{}
		}
	}
	if record.ID != "" && record.ID != a.Account.User {
		a.Account = contract.Account{Portal: r.portal.ID, User: record.ID}
		if _, err := r.office.accounts.byID(ctx, a.Account); err == nil {
			return a, badRecord("id", reasonTaken, "The account of this id has another address.")
		} else if !errors.Is(err, store.ErrNotFound) {
			return a, err
		}
	}
	return a, r.identityFree(ctx, record, a.Account)
}

// fits says what of a record does not go with this portal.
func (r *Register) fits(record PersonRecord) *contract.Error {
	if record.Provider != "" {
		if _, ok := r.portal.Providers[record.Provider]; !ok {
			return badRecord("provider", reasonProvider, "The portal has no provider of this id: sallyport portal provider set.")
		}
	}
	return nil
}

// Learn notes how a record's hash was made, or refuses one more way. Not for two goroutines at once.
func (r *Register) Learn(record PersonRecord) *contract.Error {
	if record.Password.Empty() {
		return nil
	}
	h, refusal := parseHash(record.Password.Reveal())
	if refusal != nil {
		return refusal
	}
	form := h.recipe()
	if _, known := r.portal.HashForms[form]; known {
		return nil
	}
	if len(r.portal.HashForms) >= mostForms {
		return badRecord("password", reasonForms, "The portal's imported passwords are hashed in %d ways already; one more would make every sign-in slower.", mostForms)
	}
	if r.portal.HashForms == nil {
		r.portal.HashForms = make(map[string]string)
	}
	r.portal.HashForms[form] = h.dummy()
	return nil
}

// Keep writes the forms that were learnt into the portal, before the first account that needs them: gateways that run
// see them within [portalsEvery].
func (r *Register) Keep(ctx context.Context) error {
	return r.office.accounts.keepForms(ctx, r.portal.ID, r.portal.HashForms)
}

// holder is the account that has claimed an address; "" for none.
func (r *Register) holder(ctx context.Context, email string) (string, error) {
	l, err := r.office.accounts.logins.Get(ctx, r.portal.ID+"/"+email)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return l.User, err
}

// identity is the name of a record's identity; "" for none.
func (r *Register) identity(record PersonRecord) string {
	if record.Subject != "" {
		return identity{r.portal.Providers[record.Provider].Issuer, record.Subject}.key()
	}
	return record.Identity
}

// identityFree refuses an identity that is somebody else's.
func (r *Register) identityFree(ctx context.Context, record PersonRecord, who contract.Account) error {
	key := r.identity(record)
	if key == "" {
		return nil
	}
	u, err := r.office.accounts.byIdentity(ctx, r.portal.ID, key)
	if errors.Is(err, store.ErrNotFound) || err == nil && (u.User == who.User || u.Identity != key) {
		return nil
	}
	if err != nil {
		return err
	}
	return badRecord("subject", reasonIdentity, "Another account has this identity.")
}

// compare says what an update would change in an account that is there.
func (r *Register) compare(a Arrival, was user) (Arrival, error) {
	rec := a.record
	if rec.ID != "" && rec.ID != was.User {
		return a, badRecord("id", reasonTaken, "The account of this address has another id.")
	}
	name := rec.Name
	m := amendment{Name: &name, MasterAdmin: rec.MasterAdmin, OrganizationAdmin: rec.OrganizationAdmin, Disabled: rec.Disabled}
	if was.Audience == contract.Organization && fold(rec.Organization) != fold(was.Organization) {
		m.Organization = &rec.Organization
	}
	a.was = was
	if rec.Audience != was.Audience || rec.Federated != nil && *rec.Federated != was.Federated {
		a.State, a.Fields = Differs, []string{"audience"}
		return a, nil
	}
	is, fields, err := m.amended(was)
	if err != nil {
		return a, err
	}
	// A password that was taken away, or is being chosen over a link, is none that a file brings back.
	if was.Password == "" && was.Link == nil && !rec.Password.Empty() && !was.Federated {
		fields = append(fields, "password")
		r.password(&is, rec)
	}
	a.State, a.is, a.Fields = Same, is, fields
	if len(fields) > 0 {
		a.State = Differs
	}
	return a, nil
}

// Updatable refuses a change that an import does not make: of what an account is, and of what must end its sessions.
func (a Arrival) Updatable() *contract.Error {
	switch was, is := a.was, a.is; {
	case a.State != Differs:
		return nil
	case is.User == "":
		return badRecord("audience", reasonKind, "The account is of another kind (audience, federated), which no account changes.")
	case is.Disabled && !was.Disabled, was.MasterAdmin && !is.MasterAdmin, was.OrganizationAdmin && !is.OrganizationAdmin, is.Organization != was.Organization:
		return badRecord("email", reasonSessions, "The account would be disabled, lose rights or move: an admin does that on the person's page, which ends the sessions.")
	}
	return nil
}

// password takes over the hash of a record.
func (r *Register) password(u *user, record PersonRecord) {
	if h, refusal := parseHash(record.Password.Reveal()); !record.Password.Empty() && refusal == nil {
		u.Password, u.HashForm = record.Password.Reveal(), h.recipe()
	}
}

// Claim takes the address of an absent person for them, and returns the account that it will be. Whatever ends the import
// after this, the same file goes on with the same account. Nobody can sign in yet: the account comes last, by [Register.Add].
func (r *Register) Claim(ctx context.Context, a Arrival) (contract.Account, error) {
	who := a.Account
	if who.User == "" {
		who = contract.Account{Portal: r.portal.ID, User: bus.NewID()}
	}
	err := r.office.accounts.claim(ctx, r.portal.ID, a.record.Email, who.User, r.office.now())
	if errors.Is(err, store.ErrExists) {
		err = contract.Refuse(contract.Conflict, "Somebody else makes an account with this address just now. Try again in a minute.")
	}
	if key := r.identity(a.record); err == nil && key != "" {
		if id, claimed := r.office.accounts.claimIdentity(ctx, r.portal.ID, key, who.User); claimed != nil || id != who.User {
			err = errors.Join(claimed, contract.Refuse(contract.Conflict, "Somebody else takes this identity just now. Try again in a minute."))
		}
	}
	return who, err
}

// CreatedEntry is the entry for the audit log of an account that is about to be added: written before it, so that nobody
// comes in unseen. It has the same id however often it is tried.
func (r *Register) CreatedEntry(a Arrival, who contract.Account, actor, reason string) contract.AuditRequest {
	u := r.account(a, who)
	return contract.AuditRequest{ID: "import-" + who.Portal + "-" + who.User, AuditNote: contract.AuditNote{
		Portal: who.Portal, User: who.User, Actor: actor, Reason: reason, At: r.office.now(), Action: contract.AuditUserCreated,
		Detail: map[string]string{"email": u.Email, "rights": rights(u), "by": "import"},
	}}
}

// account is the account of an absent person.
func (r *Register) account(a Arrival, who contract.Account) user {
	rec, is := a.record, func(b *bool) bool { return b != nil && *b }
	u := user{
		ID: who.Portal + "/" + who.User, Portal: who.Portal, User: who.User, Email: rec.Email, Name: rec.Name, Audience: rec.Audience, Organization: rec.Organization,
		MasterAdmin: is(rec.MasterAdmin), OrganizationAdmin: is(rec.OrganizationAdmin), Federated: is(rec.Federated), Disabled: is(rec.Disabled),
		Identity: r.identity(rec),
	}
	if u.Identity != "" {
		u.Provider = rec.Provider
	}
	r.password(&u, rec)
	return u
}

// Add makes the account of a claimed address. standing is what policy-svc says of the person: lists show it at once.
func (r *Register) Add(ctx context.Context, a Arrival, who contract.Account, standing contract.StandingReply) error {
	u := r.account(a, who)
	u.Mirror = mirrorOf(standing)
	err := r.office.accounts.add(ctx, u, r.office.now())
	if errors.Is(err, store.ErrExists) {
		err = errEmailTaken
	}
	if err == nil && u.reachable() {
		err = r.office.accounts.count(ctx, u.account())
	}
	return err
}

// Update makes an account what its record says, and returns the entry for the audit log; see [Arrival.Updatable].
func (r *Register) Update(ctx context.Context, a Arrival, actor, reason string) (contract.AuditRequest, error) {
	if refusal := a.Updatable(); refusal != nil {
		return contract.AuditRequest{}, refusal
	}
	letter, entry, err := r.office.letter(ctx, contract.AuditNote{
		Portal: a.was.Portal, User: a.was.User, Actor: actor, Reason: reason, Action: contract.AuditUserChanged, Detail: detail(a.was, a.is, a.Fields),
	})
	if err == nil {
		err = r.office.outbox.Note(ctx, usersCollection, a.was.ID, letter)
	}
	if err != nil {
		return entry, err
	}
	done, err := r.office.accounts.users.Update(ctx, a.was.ID, importing(a.was, a.is, letter))
	if err == nil && !done {
		err = errMeanwhile
	}
	if err == nil && a.is.reachable() {
		err = r.office.accounts.count(ctx, a.is.account())
	}
	return entry, err
}

// Federated tells whether the account is there, and signs in at a provider.
func (a Arrival) Federated() bool { return a.was.Federated }

// Settle finishes an account that is there: an import may have been cut short before it counted a Master Admin.
func (r *Register) Settle(ctx context.Context, a Arrival) error {
	if !a.was.reachable() {
		return nil
	}
	return r.office.accounts.count(ctx, a.was.account())
}

// Reflect has lists show what policy-svc says of a person.
func (r *Register) Reflect(ctx context.Context, who contract.Account, standing contract.StandingReply) error {
	return r.office.accounts.reflect(ctx, who, standing)
}
