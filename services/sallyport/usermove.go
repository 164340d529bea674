package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
	"sallyport/services/auth-gateway/gateway"
	"sallyport/services/policy-svc/policy"
	"sallyport/services/sallyport/roster"
	"sallyport/services/sms-dispatcher/sms"
	"sallyport/services/totp-svc/totp"
)

// mover moves people into a portal.
//
// The order for one person: the address is claimed, the factor goes to its owner and then to policy-svc, the audit log has
// it, and the account comes last. Whatever ends the import, nobody can sign in who is not whole, and the claim leads the
// same command to the same account.
type mover struct {
	*userImportCommand
	register  *gateway.Register
	rules     *policy.Office
	vault     *vault
	counting  contract.PortalRules
	countries sms.Countries // nil: all

	factors func() (factors, error)
	// seen are the people of the file so far, as hashes, with their lines.
	seen map[[16]byte]int

	mu         sync.Mutex
	plan, done tally
}

// factors are the owners of second factors, with their keys.
type factors struct {
	app                *totp.Office
	phone              *sms.Office
	appKeys, phoneKeys *seal.Keys
}

// moving opens the owners of factors, at the first person who has one.
func (v *vault) moving(ctx context.Context) (f factors, err error) {
	if f.appKeys, err = v.keys(contract.TOTP); err != nil {
		return f, err
	}
	if f.phoneKeys, err = v.keys(contract.SMSDispatcher); err != nil {
		return f, err
	}
	f.app, f.phone, err = v.factors(ctx)
	return f, err
}

func (v *vault) mover(ctx context.Context, c *userImportCommand) (*mover, error) {
	told, err := config.Load[struct {
		Countries sms.Countries `env:"SMS_COUNTRIES"`
	}](config.Environ())
	if err != nil {
		return nil, err
	}
	m := &mover{userImportCommand: c, vault: v, countries: told.Countries, seen: make(map[[16]byte]int)}
	m.factors = sync.OnceValues(func() (factors, error) { return v.moving(context.WithoutCancel(ctx)) })
	office, err := v.gateway(ctx)
	if err != nil {
		return nil, err
	}
	if m.register, err = office.Register(ctx, c.Portal); err != nil {
		return nil, err
	}
	if m.rules, err = v.policy(ctx); err != nil {
		return nil, err
	}
	m.counting, err = m.rules.Rules(ctx, c.Portal)
	return m, err
}

// look reads the whole file and changes nothing.
func (m *mover) look(ctx context.Context, file *peopleFile) error {
	in, err := file.read()
	if err != nil {
		return err
	}
	far := progress{what: "are looked at"}
	return each(ctx, in, nil, m.first, func(ctx context.Context, l *roster.Line) error {
		return patiently(ctx, func() error {
			_, err := m.one(ctx, l, false)
			return m.blame(l, err)
		})
	}, func(_ *roster.Reader, l roster.Line) error {
		far.one()
		if l.Wrong != nil {
			m.plan.Bad++
			name(l)
		}
		return nil
	})
}

// move reads it again, and moves the people in whose lines are good.
func (m *mover) move(ctx context.Context, file *peopleFile, bad io.Writer) error {
	if err := m.register.Keep(ctx); err != nil {
		return err
	}
	in, err := file.read()
	if err != nil {
		return err
	}
	clear(m.seen)
	far := progress{what: "are moved in"}
	wrong := 0
	return each(ctx, in, bad, m.first, func(ctx context.Context, l *roster.Line) error {
		return patiently(ctx, func() error {
			t, err := m.one(ctx, l, true)
			if err == nil {
				m.add(&m.done, t)
			}
			return m.blame(l, err)
		})
	}, func(r *roster.Reader, l roster.Line) error {
		far.one()
		if l.Wrong == nil {
			return nil
		}
		m.done.Bad++
		if bad == nil {
			name(l)
			return errors.New("a line that was good is bad by now")
		}
		wrong++
		return r.Write(bad, l, wrong == 1)
	})
}

// blame makes a refusal of a person one of their line, and returns any other error.
func (m *mover) blame(l *roster.Line, err error) error {
	var refusal *contract.Error
	if errors.As(err, &refusal) && (refusal.Code == contract.InvalidRequest || refusal.Code == contract.Conflict) {
		p := roster.ProblemOf(refusal)
		if p.Reason == "" {
			p.Reason = contract.Reason(refusal.Code)
		}
		l.Wrong = append(l.Wrong, p)
		return nil
	}
	return err
}

func (m *mover) add(to *tally, t tally) {
	m.mu.Lock()
	defer m.mu.Unlock()
	to.Created += t.Created
	to.Updated += t.Updated
	to.Unchanged += t.Unchanged
	to.LeftAlone += t.LeftAlone
	to.Authenticators += t.Authenticators
	to.Phones += t.Phones
	to.FactorsKept += t.FactorsKept
}

// first is what a line is checked for in its turn: by what stands in the lines before it, and by what this command
// allows. It asks nobody.
func (m *mover) first(l *roster.Line) {
	p := l.Person
	bad := func(field string, why contract.Reason, says string) {
		l.Wrong = append(l.Wrong, roster.Problem{Field: field, Reason: why, Says: says})
	}
	for field, value := range map[string]string{"email": p.Email, "id": p.ID, "subject": p.Provider + "\x00" + p.Subject, "identity": p.Identity} {
		if value == "" || value == p.Provider+"\x00" {
			continue
		}
		sum := sha256.Sum256([]byte(field + "\x00" + value))
		key := [16]byte(sum[:16])
		if _, ok := m.seen[key]; ok {
			bad(field, roster.Twice, "An earlier line has the same.")
		} else {
			m.seen[key] = l.Number
		}
	}
	if p.MasterAdmin != nil && *p.MasterAdmin && !m.AllowMasters {
		bad("master_admin", roster.NeedsConsent, "Master Admins are taken with --allow-master-admins alone.")
	}
	if p.Since.After(m.vault.clock.Now()) {
		bad("enrolled_since", roster.Invalid, "The time of enrolment is in the future.")
	}
	if !p.Phone.Empty() && m.countries != nil {
		if _, refusal := sms.ParseNumber(p.Phone.Reveal(), "", m.countries); refusal != nil {
			l.Wrong = append(l.Wrong, roster.ProblemOf(refusal))
		}
	}
	if refusal := m.register.Learn(p.PersonRecord); refusal != nil {
		l.Wrong = append(l.Wrong, roster.ProblemOf(refusal))
	}
}

// one is what becomes of a person: it is found out, and done where do is set. It may be repeated.
func (m *mover) one(ctx context.Context, l *roster.Line, do bool) (tally, error) {
	p := l.Person
	a, err := m.register.Find(ctx, p.PersonRecord)
	if err != nil {
		return tally{}, err
	}
	var t tally
	switch a.State {
	case gateway.Absent:
		t, err = m.newcomer(ctx, a, p, do)
	default:
		t, err = m.resident(ctx, a, p, do)
	}
	if err == nil && !do {
		m.add(&m.plan, t)
	}
	return t, err
}

// newcomer makes an account.
func (m *mover) newcomer(ctx context.Context, a gateway.Arrival, p roster.Person, do bool) (tally, error) {
	t := tally{Created: 1}
	if p.ID != "" {
		gone, err := m.rules.Gone(ctx, contract.Account{Portal: m.Portal, User: p.ID})
		if err != nil {
			return t, err
		}
		if gone {
			return t, refuse("id", "id_used", "The account of this id was deleted; an id never lives again. Leave it out.")
		}
	}
	who := a.Account
	if do {
		var err error
		if who, err = m.register.Claim(ctx, a); err != nil {
			return t, err
		}
	}
	standing, moved, err := m.factor(ctx, who, p, do)
	if err != nil {
		return t, err
	}
	t.Authenticators, t.Phones, t.FactorsKept = moved.Authenticators, moved.Phones, moved.FactorsKept
	if !do {
		return t, nil
	}
	entry := m.register.CreatedEntry(a, who, actor(), m.Reason)
	if err := m.rules.Audit().Append(ctx, entry.ID, entry.AuditNote); err != nil {
		return t, err
	}
	return t, m.register.Add(ctx, a, who, standing)
}

// resident changes an account that is there, where the command says so.
func (m *mover) resident(ctx context.Context, a gateway.Arrival, p roster.Person, do bool) (tally, error) {
	var t tally
	if do {
		if err := m.register.Settle(ctx, a); err != nil {
			return t, err
		}
	}
	if !m.Update {
		if a.State == gateway.Differs {
			return tally{LeftAlone: 1}, nil
		}
		return tally{Unchanged: 1}, nil
	}
	if refusal := a.Updatable(); refusal != nil {
		return t, refusal
	}
	if a.Federated() && (!p.Key.Empty() || !p.Phone.Empty()) {
		return t, refuse("federated", "wrong_audience", "The account signs in at a provider, and has no second factor here.")
	}
	t.Unchanged = 1
	if a.State == gateway.Differs {
		t.Unchanged, t.Updated = 0, 1
		if do {
			entry, err := m.register.Update(ctx, a, actor(), m.Reason)
			if err == nil {
				err = record(ctx, m.rules.Audit(), entry)
			}
			if err != nil {
				return t, err
			}
		}
	}
	standing, moved, err := m.factor(ctx, a.Account, p, do)
	if err != nil {
		return t, err
	}
	t.Authenticators, t.Phones, t.FactorsKept = moved.Authenticators, moved.Phones, moved.FactorsKept
	if do && moved.Authenticators+moved.Phones > 0 {
		err = m.register.Reflect(ctx, a.Account, standing)
	}
	return t, err
}

// factor moves the second factor of a person in, unless they have one that counts or were reset since they came, and
// returns where they stand. It asks nothing about somebody who has neither factor nor id.
func (m *mover) factor(ctx context.Context, who contract.Account, p roster.Person, do bool) (standing contract.StandingReply, t tally, err error) {
	rule, has := m.counting.Of(p.Audience), !p.Key.Empty() || !p.Phone.Empty()
	if has && rule.Mode == contract.ModeOff {
		field := "totp"
		if p.Key.Empty() {
			field = "phone"
		}
		return standing, t, refuse(field, "second_factor_off", "The second factor is off for this population: switched on later, everybody enrols again, and what is imported now would be dead. Switch it to optional or required first.")
	}
	count := func() {
		if p.Key.Empty() {
			t.Phones = 1
		} else {
			t.Authenticators = 1
		}
	}
	if who.User == "" {
		if has {
			count()
		}
		return standing, t, nil
	}
	ask := contract.DecideRequest{Account: who, Audience: p.Audience}
	if standing, err = m.rules.Standing(ctx, ask); err != nil || !has {
		return standing, t, err
	}
	// Who was reset enrols again: the file may be older, and its factor in somebody else's hands.
	if standing.Decision.Standing == contract.Enrolled || standing.Decision.Epoch.Person > 0 {
		t.FactorsKept = 1
		return standing, t, nil
	}
	count()
	if !do {
		return standing, t, nil
	}
	f, err := m.factors()
	if err != nil {
		return standing, t, err
	}
	since := p.Since
	if since.IsZero() {
		since = m.vault.clock.Now()
	}
	var c contract.Confirmation
	if p.Key.Empty() {
		c, err = f.phone.Import(ctx, f.phoneKeys, who, standing.Decision.Epoch, sms.MovedPhone{Number: p.Phone, Since: since})
	} else {
		c, err = f.app.Import(ctx, f.appKeys, who, standing.Decision.Epoch, totp.MovedKey{Key: p.Key, Label: p.KeyLabel, Since: since})
	}
	if err == nil {
		standing, err = m.rules.Import(ctx, ask, c, actor(), m.Reason)
	}
	return standing, t, err
}

// refuse is a refusal of a person of the file.
func refuse(field string, why contract.Reason, says string) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, "%s", says)
	e.Field, e.Reason = field, why
	return e
}
