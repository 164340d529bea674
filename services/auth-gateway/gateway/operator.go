package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/clock"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/pkg/secret"
	"sallyport/pkg/store"
)

// Office is what an operator does to portals and accounts from a command line, whether the gateway runs or not. It needs
// the store alone. What is to be told on the bus stays in the outbox until a running gateway relays it; the same is
// handed to the caller, who has it in the audit log before they acknowledge anything.
type Office struct {
	db        *store.DB
	accounts  accounts
	outbox    *store.Outbox
	clock     clock.Clock
	publicURL string
}

// OpenOffice opens the office on the gateway's database. publicURL is the gateway's PUBLIC_URL, for the links of a portal
// that has no address of its own; it may be empty. It fails when the store does not answer.
func OpenOffice(ctx context.Context, db *store.DB, c clock.Clock, publicURL string) (*Office, error) {
	if err := db.Ready(ctx); err != nil {
		return nil, err
	}
	quiet := store.NewOutbox(db, slog.New(slog.DiscardHandler), nil)
	return &Office{db: db, accounts: newAccounts(db), outbox: quiet, clock: c, publicURL: publicURL}, nil
}

// now is the time of every decision, as exact as it is kept.
func (o *Office) now() time.Time { return o.clock.Now().UTC().Truncate(time.Millisecond) }

// AccountInfo is an account as an operator sees it.
type AccountInfo struct {
	contract.Account
	Email, Name  string
	Audience     contract.Audience
	Organization string
	MasterAdmin  bool
	Federated    bool
	Disabled     bool
}

// HandedLink lets a person set their password, once, until it expires.
type HandedLink struct {
	URL       secret.String
	ExpiresAt time.Time
	// Entries are for the audit log.
	Entries []contract.AuditRequest
}

// NewPortal is a portal to be made. All but name and address may be empty.
type NewPortal struct {
	ID, Name, PublicURL  string
	SupportEmail, Accent string
	// SMSWithoutRelogin lets the confirmation of a number open the session; by default the person signs in again.
	SMSWithoutRelogin bool
	Actor             string
}

// portalID: see policy-svc, which keeps a portal's settings under the same id.
var portalID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Check says what is wrong with a new portal, before anything is made: its id or its address may be taken, too.
func (o *Office) Check(ctx context.Context, p NewPortal) error {
	if !portalID.MatchString(p.ID) {
		return invalid("id", "The id is 1 to 63 lower-case letters, digits and dashes.")
	}
	if _, err := (branding{Name: p.Name, Accent: p.Accent, SupportEmail: p.SupportEmail}).checked(); err != nil {
		return err
	}
	u, err := url.Parse(p.PublicURL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return invalid("url", "The address must be a scheme and a host, such as https://portal.example.com.")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return invalid("url", "The address must be https, except on this machine.")
	}
	all, err := o.accounts.all(ctx)
	if err != nil {
		return err
	}
	for _, other := range all {
		at := other.PublicURL
		if at == "" {
			at = o.publicURL
		}
		switch {
		case other.ID == p.ID:
			return contract.Refuse(contract.Conflict, "There is a portal %s already; it stays as it is.", p.ID)
		case strings.EqualFold(hostOf(at), hostOf(p.PublicURL)):
			return contract.Refuse(contract.Conflict, "Portal %s is at %s already.", other.ID, u.Hostname())
		}
	}
	return nil
}

// CreatePortal makes a portal, and returns the entry for the audit log. Gateways that run see it within
// [portalsEvery].
func (o *Office) CreatePortal(ctx context.Context, p NewPortal) (contract.AuditRequest, error) {
	if err := o.Check(ctx, p); err != nil {
		return contract.AuditRequest{}, err
	}
	letter, entry, err := o.letter(ctx, contract.AuditNote{
		Portal: p.ID, Action: contract.AuditPortalCreated, Actor: p.Actor, Detail: map[string]string{"name": p.Name, "url": p.PublicURL},
	})
	if err != nil {
		return entry, err
	}
	if err := o.outbox.Note(ctx, portalsCollection, p.ID, letter); err != nil {
		return entry, err
	}
	err = o.accounts.portals.Insert(ctx, portal{
		ID: p.ID, Name: strings.TrimSpace(p.Name), PublicURL: strings.TrimSuffix(p.PublicURL, "/"), SupportEmail: p.SupportEmail, Accent: p.Accent,
		SMSWithoutRelogin: p.SMSWithoutRelogin,
		Outbox:            map[string]bus.Letter{letter.ID: letter},
	})
	if errors.Is(err, store.ErrExists) {
		err = contract.Refuse(contract.Conflict, "There is a portal %s already; it stays as it is.", p.ID)
	}
	return entry, err
}

// NewAdmin is a Master Admin to be made.
type NewAdmin struct {
	Portal, Email, Name string
	// PublicURL is that of a portal which is not there yet.
	PublicURL string
	Actor     string
}

// CreateAdmin makes a Master Admin without a password, and the link by which they set one. An address that has an
// account already is a conflict.
func (o *Office) CreateAdmin(ctx context.Context, n NewAdmin) (HandedLink, error) {
	u, err := newPerson{Email: n.Email, Name: n.Name, Audience: contract.Internal, MasterAdmin: true}.account(n.Portal)
	if err != nil {
		return HandedLink{}, err
	}
	at, err := o.address(ctx, n.Portal, n.PublicURL)
	if err != nil {
		return HandedLink{}, err
	}
	word, hash := newLink(o.now())
	u.Link = &hash
	letter, entry, err := o.letter(ctx, contract.AuditNote{
		Portal: u.Portal, Action: contract.AuditUserCreated, Actor: n.Actor, User: u.User,
		Detail: map[string]string{"email": u.Email, "rights": rights(u)},
	})
	if err != nil {
		return HandedLink{}, err
	}
	if err := o.outbox.Note(ctx, usersCollection, u.Portal+"/"+u.User, letter); err != nil {
		return HandedLink{}, err
	}
	u.Outbox = map[string]bus.Letter{letter.ID: letter}
	err = o.accounts.add(ctx, u, o.now())
	if errors.Is(err, store.ErrExists) {
		err = errEmailTaken
	}
	return HandedLink{secret.New(at + linkPath(u.User, word)), hash.ExpiresAt, []contract.AuditRequest{entry}}, err
}

// Reopen makes an account one that can be signed in to: it is enabled where it was disabled, its password is dead, and
// the link is the only way to a new one. The count of admins is put right when the password is set.
func (o *Office) Reopen(ctx context.Context, who contract.Account, publicURL, actor, reason string) (HandedLink, error) {
	u, err := o.accounts.byID(ctx, who)
	if err != nil {
		return HandedLink{}, err
	}
	at, err := o.address(ctx, who.Portal, publicURL)
	if err != nil {
		return HandedLink{}, err
	}
	note := func(action contract.AuditAction, detail map[string]string) contract.AuditNote {
		return contract.AuditNote{Portal: who.Portal, Action: action, Actor: actor, User: who.User, Reason: reason, Detail: detail}
	}
	var letters []bus.Letter
	var entries []contract.AuditRequest
	notes := []contract.AuditNote{note(contract.AuditPasswordLink, nil)}
	if u.Disabled {
		notes = append(notes, note(contract.AuditUserChanged, map[string]string{"fields": "disabled", "disabled": "no"}))
	}
	for _, n := range notes {
		letter, entry, err := o.letter(ctx, n)
		if err != nil {
			return HandedLink{}, err
		}
		letters, entries = append(letters, letter), append(entries, entry)
	}
	if err := o.outbox.Note(ctx, usersCollection, u.ID, letters...); err != nil {
		return HandedLink{}, err
	}
	word, hash := newLink(o.now())
	if err := o.accounts.reopen(ctx, u, hash, letters); err != nil {
		return HandedLink{}, err
	}
	return HandedLink{secret.New(at + linkPath(u.User, word)), hash.ExpiresAt, entries}, nil
}

// Enable lets a disabled federated account in again; it has no password.
func (o *Office) Enable(ctx context.Context, who contract.Account, actor, reason string) (contract.AuditRequest, error) {
	u, err := o.accounts.byID(ctx, who)
	if err != nil {
		return contract.AuditRequest{}, err
	}
	letter, entry, err := o.letter(ctx, contract.AuditNote{
		Portal: who.Portal, Action: contract.AuditUserChanged, Actor: actor, User: who.User, Reason: reason,
		Detail: map[string]string{"fields": "disabled", "disabled": "no"},
	})
	if err != nil {
		return entry, err
	}
	if err := o.outbox.Note(ctx, usersCollection, who.Portal+"/"+who.User, letter); err != nil {
		return entry, err
	}
	return entry, o.accounts.enable(ctx, u, letter)
}

// SetProvider adds a sign-in provider to a portal, or replaces the one of the same id, and returns the entry for the audit
// log. Running gateways see it within [portalsEvery]. It does not ask the provider anything: one that is down may be set.
func (o *Office) SetProvider(ctx context.Context, keys *seal.Keys, portalID string, p Provider, actor string) (contract.AuditRequest, error) {
	kept, err := p.sealed(keys, portalID)
	if err != nil {
		return contract.AuditRequest{}, contract.Refuse(contract.InvalidRequest, "%s.", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return o.changePortal(ctx, portalID, actor, "sign-in provider set", p.ID, func(l bus.Letter) error {
		return setProvider(ctx, o.db, portalID, kept, l)
	})
}

// RemoveProvider takes a sign-in provider from a portal, and returns the entry for the audit log. Its people stay signed
// in, and cannot sign in again.
func (o *Office) RemoveProvider(ctx context.Context, portalID, id, actor string) (contract.AuditRequest, error) {
	if !slug.MatchString(id) {
		return contract.AuditRequest{}, invalid("id", "%q is no id of a provider.", id)
	}
	return o.changePortal(ctx, portalID, actor, "sign-in provider removed", id, func(l bus.Letter) error {
		return removeProvider(ctx, o.db, portalID, id, l)
	})
}

// SetSMSRelogin decides whether people of a portal sign in again after they confirmed their number (B21), and returns the
// entry for the audit log. Gateways that run see it within [portalsEvery].
func (o *Office) SetSMSRelogin(ctx context.Context, portalID string, again bool, actor string) (contract.AuditRequest, error) {
	word := "off"
	if again {
		word = "on"
	}
	letter, entry, err := o.letter(ctx, contract.AuditNote{
		Portal: portalID, Action: contract.AuditPortalChanged, Actor: actor, Reason: "sign-in again after a number is confirmed", Detail: map[string]string{"sms_relogin": word},
	})
	if err == nil {
		err = o.outbox.Note(ctx, portalsCollection, portalID, letter)
	}
	if err == nil {
		err = o.accounts.setSMSRelogin(ctx, portalID, again, letter)
	}
	if errors.Is(err, store.ErrNotFound) {
		err = noPortal(portalID)
	}
	return entry, err
}

// changePortal changes something of a provider in a portal's document, with its letter.
func (o *Office) changePortal(ctx context.Context, portalID, actor, reason, providerID string, change func(bus.Letter) error) (contract.AuditRequest, error) {
	letter, entry, err := o.letter(ctx, contract.AuditNote{
		Portal: portalID, Action: contract.AuditPortalChanged, Actor: actor, Reason: reason, Detail: map[string]string{"provider": providerID},
	})
	if err == nil {
		err = o.outbox.Note(ctx, portalsCollection, portalID, letter)
	}
	if err == nil {
		err = change(letter)
	}
	if errors.Is(err, store.ErrNotFound) {
		if _, found := o.accounts.portals.Get(ctx, portalID); errors.Is(found, store.ErrNotFound) {
			return entry, noPortal(portalID)
		}
		err = contract.Refuse(contract.NotFound, "Portal %s has no provider %s.", portalID, providerID)
	}
	return entry, err
}

// FindUser finds an account by its address, or says what there is none of.
func (o *Office) FindUser(ctx context.Context, portalID, email string) (AccountInfo, error) {
	canonical, ok := canonicalEmail(email)
	if !ok {
		return AccountInfo{}, invalid("email", "%q is no e-mail address.", email)
	}
	u, err := o.accounts.byEmail(ctx, portalID, canonical)
	if errors.Is(err, store.ErrNotFound) || err == nil && u.Deleted {
		if _, err := o.accounts.portals.Get(ctx, portalID); errors.Is(err, store.ErrNotFound) {
			return AccountInfo{}, noPortal(portalID)
		}
		return AccountInfo{}, contract.Refuse(contract.NotFound, "Portal %s has no account %s.", portalID, canonical)
	}
	if err != nil {
		return AccountInfo{}, err
	}
	return AccountInfo{
		Account: u.account(), Email: u.Email, Name: u.Name, Audience: u.Audience, Organization: u.Organization,
		MasterAdmin: u.MasterAdmin, Federated: u.Federated, Disabled: u.Disabled,
	}, nil
}

func noPortal(id string) error {
	return contract.Refuse(contract.NotFound, "There is no portal %q; sallyport portal list shows those there are.", id)
}

// ForgetGuesses makes wrong passwords that were typed for an account count no more; false where none counted. Where any
// do, record has the entry first, so that none are forgotten unseen. The networks from which the right one came are kept.
func (o *Office) ForgetGuesses(ctx context.Context, who contract.Account, actor, reason string, record func(context.Context, contract.AuditRequest) error) (bool, error) {
	u, err := o.accounts.byID(ctx, who)
	if err != nil {
		return false, err
	}
	return newGuessRecords(o.db).clear(ctx, guess{portal: who.Portal, address: u.Email}, o.now(), func(ctx context.Context) error {
		return record(ctx, contract.AuditRequest{ID: bus.NewID(), AuditNote: contract.AuditNote{
			Portal: who.Portal, Action: contract.AuditPasswordGuesses, Actor: actor, User: who.User, Reason: reason, At: o.now(),
		}})
	})
}

// Address is where people reach a portal, and what the links begin with. An error names what is missing.
func (o *Office) Address(ctx context.Context, portalID string) (string, error) {
	return o.address(ctx, portalID, "")
}

// address is where people reach a portal; fallback is that of one which is not there yet.
func (o *Office) address(ctx context.Context, portalID, fallback string) (string, error) {
	p, err := o.accounts.portals.Get(ctx, portalID)
	switch {
	case errors.Is(err, store.ErrNotFound) && fallback == "":
		return "", noPortal(portalID)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	for _, at := range []string{p.PublicURL, fallback, o.publicURL} {
		if at != "" {
			return strings.TrimSuffix(at, "/"), nil
		}
	}
	return "", fmt.Errorf("portal %s has no address of its own, which a link begins with: set PUBLIC_URL as the gateway has it", portalID)
}

// letter makes the letter of a note, and the entry that says the same.
func (o *Office) letter(ctx context.Context, note contract.AuditNote) (bus.Letter, contract.AuditRequest, error) {
	note.At = o.now()
	entry := contract.AuditRequest{ID: bus.NewID(), AuditNote: note}
	letter, err := bus.NewLetter(ctx, contract.AccountChanged, entry.ID, note, note.At)
	return letter, entry, err
}
