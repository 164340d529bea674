package totp

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pquerna/otp"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/digits"
	"sallyport/pkg/secret"
)

// pendingFor is how long a seed waits for its first code.
const pendingFor = 10 * time.Minute

// begin answers [contract.TOTPBegin].
func (s *server) begin(ctx context.Context, req contract.TOTPBeginRequest) (contract.TOTPBeginReply, error) {
	var empty contract.TOTPBeginReply
	issuer, account := keyName(req.Issuer, 64), keyName(req.Label, 128)
	if err := checkAccount(req.Account); err != nil {
		return empty, err
	}
	switch {
	case !fitID(req.Enrolment):
		return empty, invalid("enrolment", "An enrolment's id is made of letters, digits, dashes and underscores.")
	case issuer == "":
		return empty, invalid("issuer", "An authenticator app needs a name of the portal to show.")
	case account == "":
		return empty, invalid("label", "An authenticator app needs a name of the account to show.")
	}
	id, now := documentID(req.Account), s.now()
	for range looks {
		doc, err := s.state.authenticator(ctx, id)
		if err != nil {
			return empty, err
		}
		if doc.ID != "" && doc.Person < req.Epoch.Person {
			// The event of a reset is still on its way: what it would remove is dead already.
			if err := s.raise(ctx, req.Account, req.Epoch.Person); err != nil {
				return empty, err
			}
			continue
		}
		p := doc.Pending
		switch {
		case doc.ID != "" && doc.Person > req.Epoch.Person:
			return empty, contract.Refuse(contract.Conflict, "The second factor was reset meanwhile. Please sign in again.")
		case doc.Confirmed == req.Enrolment:
			return empty, alreadyActive()
		case p == nil || p.Enrolment != req.Enrolment || p.Epoch.Population < req.Epoch.Population:
			fresh, err := s.newPending(req.Account, req.Enrolment, req.Epoch, now)
			if err != nil {
				return empty, err
			}
			fresh.Issuer, fresh.Account = issuer, account
			ok, err := s.state.begin(ctx, id, doc, fresh)
			if err != nil {
				return empty, err
			}
			if !ok {
				continue // somebody else began; look again
			}
			p = &fresh
		case !now.Before(p.ExpiresAt):
			return empty, tooLate()
		}
		return s.show(req.Account, *p)
	}
	return empty, errBusy()
}

func alreadyActive() *contract.Error {
	return contract.Refuse(contract.Conflict, "This authenticator is active already.")
}

func tooLate() *contract.Error {
	return contract.Refuse(contract.Expired, "The time to set up the authenticator is over. Please begin again.")
}

// newPending makes a seed.
func (s *server) newPending(who contract.Account, enrolment string, epoch contract.Epoch, now time.Time) (pending, error) {
	seed := make([]byte, seedBytes)
	_, _ = rand.Read(seed) // never fails
	sealed, err := s.svc.Keys.Store.Seal(seed, place(who, enrolment))
	if err != nil {
		return pending{}, err
	}
	return pending{
		Credential: Credential{Enrolment: enrolment, Seed: bus.NewID(), Secret: sealed, Epoch: epoch},
		ExpiresAt:  now.Add(pendingFor),
	}, nil
}

// show returns the key URI of a pending seed, sealed for the person.
func (s *server) show(who contract.Account, p pending) (contract.TOTPBeginReply, error) {
	var empty contract.TOTPBeginReply
	seed, err := s.open(who, p.Credential)
	if err != nil {
		return empty, err
	}
	uri, err := keyURI(seed, p.Issuer, p.Account)
	if err != nil {
		return empty, err
	}
	sealed, err := s.svc.Keys.Bus.SealField(uri, contract.PurposeSeed, who)
	if err != nil {
		return empty, err
	}
	return contract.TOTPBeginReply{URI: sealed, ExpiresAt: p.ExpiresAt}, nil
}

// keyURI is what a QR code shows: otpauth://totp/Issuer:account?… It is written here, because the library leaves an "&"
// in a name as it is, and read back with the library, as apps do: a QR code that says something else than was meant is
// shown to nobody. The error says nothing of the seed.
func keyURI(seed []byte, issuer, account string) (secret.String, error) {
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(seed)
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	uri := fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
		escape(issuer), escape(account), text, escape(issuer), digits.Length, int(period/time.Second))
	key, err := otp.NewKeyFromURL(uri)
	if err != nil || key.Issuer() != issuer || key.AccountName() != account || key.Secret() != text {
		return secret.String{}, fmt.Errorf("no key URI can be made for issuer %q and account %q", issuer, account)
	}
	return secret.New(uri), nil
}

// keyName makes a name fit for a key URI, in which a colon parts issuer and account.
func keyName(name string, longest int) string {
	name = strings.Map(func(r rune) rune {
		if r == ':' || r == utf8.RuneError || unfit(r) {
			return ' '
		}
		return r
	}, name)
	runes := []rune(strings.Join(strings.Fields(name), " "))
	return strings.TrimSpace(string(runes[:min(len(runes), longest)]))
}

// unfit are characters that have no place in a name: control characters and those that turn the direction of what
// stands around them.
func unfit(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Bidi_Control, r)
}

// fitID tells whether an id of our own making may stand in the name of a letter.
func fitID(id string) bool {
	const longest = 64
	for i := range len(id) {
		switch c := id[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_':
		default:
			return false
		}
	}
	return 0 < len(id) && len(id) <= longest
}

// deviceLabel is a person's name for a device: trimmed, at most [contract.LongestLabel] characters, on one line.
func deviceLabel(typed string) (string, error) {
	label := strings.TrimSpace(typed)
	switch {
	case !utf8.ValidString(label) || strings.ContainsFunc(label, unfit):
		return "", invalid("label", "Please enter a name without special characters.")
	case utf8.RuneCountInString(label) > contract.LongestLabel:
		return "", invalid("label", fmt.Sprintf("Please enter a name of at most %d characters.", contract.LongestLabel))
	}
	return label, nil
}

// confirm answers [contract.TOTPConfirm].
func (s *server) confirm(ctx context.Context, req contract.TOTPConfirmRequest) (contract.Confirmation, error) {
	a, r, err := s.activate(ctx, req)
	count(s.metrics.confirmations, r)
	if err != nil {
		return contract.Confirmation{}, err
	}
	return a.confirmation(), nil
}

// confirmation is what policy must be told of an authenticator.
func (a active) confirmation() contract.Confirmation {
	return contract.Confirmation{
		FactorInfo: contract.FactorInfo{Factor: contract.FactorTOTP, Enrolment: a.Enrolment, Label: a.Label, Since: a.Since},
		Epoch:      a.Epoch,
	}
}

func (s *server) activate(ctx context.Context, req contract.TOTPConfirmRequest) (active, result, error) {
	typed, err := s.typed(req.Account, req.Code)
	if err != nil {
		return active{}, "", err
	}
	label, err := deviceLabel(req.Label)
	if err != nil {
		return active{}, none, err
	}
	code, ok := digits.Canonical(typed.Reveal())
	if !ok {
		r, err := s.noCode(ctx, req.Account)
		return active{}, r, err
	}
	g := s.guess(ctx, req.Account)
	for range looks {
		doc, ok, err := s.state.countPending(ctx, g, req.Enrolment)
		if err != nil {
			return active{}, "", err
		}
		if !ok {
			p := doc.Pending
			switch {
			case doc.Active != nil && doc.Active.Enrolment == req.Enrolment && doc.accepted(g.call, req.Enrolment):
				return *doc.Active, repeated, nil
			case doc.Active != nil && doc.Active.Enrolment == req.Enrolment:
				// Whether the code is right is told to nobody here: it was not counted.
				return active{}, none, alreadyActive()
			case p == nil || p.Enrolment != req.Enrolment:
				return active{}, none, notBegun()
			case !g.now.Before(p.ExpiresAt):
				return active{}, none, tooLate()
			case doc.counted(g.call):
				// Counted before; how it ended, nobody knows. It is compared below.
			case !doc.Guess.Allowed(g.now):
				s.retell(ctx, req.Account, doc, g.now)
				return active{}, closed, refuseLocked(doc.Guess, g.now)
			default:
				continue // the document changed between the two looks
			}
		}
		g.first, g.asked = ok, doc.askedAt(g)
		return s.tryOut(ctx, g, req.Account, doc, code, label)
	}
	return active{}, "", errBusy()
}

func notBegun() *contract.Error {
	return contract.Refuse(contract.NotFound, "No authenticator is being set up. Please begin again.")
}

// tryOut decides about the first code of a pending secret, a guess that was counted.
func (s *server) tryOut(ctx context.Context, g guess, who contract.Account, doc authenticator, code, label string) (active, result, error) {
	c := doc.Pending.Credential
	seed, err := s.open(who, c)
	if err != nil {
		return active{}, "", err
	}
	step, ok := matchStep(seed, code, g.asked)
	if !ok {
		return active{}, g.came(wrong), s.wrong(ctx, g, who, doc, c.Seed, matchOutside(seed, code, g.asked))
	}
	a := active{Credential: c, Label: label, Since: g.now}
	confirmation := a.confirmation()
	letter, err := bus.NewLetter(ctx, contract.EnrolmentConfirmed, contract.ConfirmedID(c.Enrolment),
		contract.EnrolmentFact{Account: who, FactorInfo: confirmation.FactorInfo, Epoch: confirmation.Epoch}, g.now)
	if err != nil {
		return active{}, "", err
	}
	if err := s.svc.Outbox.Note(ctx, authenticators, g.id, letter); err != nil {
		return active{}, "", err
	}
	if ok, err = s.state.confirm(ctx, g, a, step, letter); err != nil {
		return active{}, "", err
	}
	if ok {
		s.svc.Outbox.Relay(authenticators, g.id, letter)
		s.metrics.drifted(step - stepAt(g.asked))
		return a, right, nil
	}
	// The pending secret is gone: confirmed by another call, or by this one, whose reply was lost, or replaced.
	now, err := s.state.authenticator(ctx, g.id)
	switch {
	case err != nil:
		return active{}, "", err
	case now.Active == nil || now.Active.Seed != c.Seed:
		return active{}, none, notBegun()
	case now.accepted(g.call, c.Enrolment):
		return *now.Active, repeated, nil
	default:
		return active{}, none, alreadyActive()
	}
}
