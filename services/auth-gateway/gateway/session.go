package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// Times of a session (NIST SP 800-63B §4.2.3 asks for no more at this level).
const (
	sessionLife  = 12 * time.Hour
	sessionIdle  = 30 * time.Minute
	sessionTouch = time.Minute // how stale "last seen" may be
	stepUpLife   = 5 * time.Minute
)

// session is what a browser or client holds after a complete sign-in. It says what it may do (how and when the person
// proved who they are); the account never does.
type session struct {
	ID     string  `json:"id"`
	Hash   []byte  `json:"hash"`
	Portal string  `json:"portal"`
	User   string  `json:"user"`
	Who    profile `json:"who"`
	// Device is from where the person signed in.
	Device device `json:"device,omitzero"`
	// CanEnable is set where the person could have a telephone as second factor and had none at sign-in: what the menu
	// offers without asking policy for every page. Who follows it is told what holds by then.
	CanEnable bool `json:"can_enable,omitempty"`
	// Enrolling is the authenticator that is being set up from the account page, one at a time.
	Enrolling *enrolling `json:"enrolling,omitempty"`
	// Methods are how the person proved who they are, in order (RFC 8176 names).
	Methods  []string  `json:"amr"`
	AuthTime time.Time `json:"auth_time"`
	// ExpiresAt is absolute; SeenAt is the last use, at most [sessionTouch] old.
	ExpiresAt time.Time `json:"expires_at"`
	SeenAt    time.Time `json:"seen_at"`
	// StepUpAt is when password and code were last proved again, or the older of the two; zero if never.
	StepUpAt time.Time `json:"step_up_at,omitzero"`
	// StepUpChallenge is the text message whose code a step-up will ask for.
	StepUpChallenge string `json:"step_up_challenge,omitempty"`
	// Unanswered are the codes of step-ups of which nobody knows what became.
	Unanswered unanswered `json:"unanswered,omitempty"`
	// Epoch is what counted when the sign-in began; EnrolledAt since when the factor counted that opened the session, by
	// the clock of the factor's owner: zero for none.
	Epoch      contract.Epoch `json:"epoch,omitzero"`
	EnrolledAt time.Time      `json:"enrolled_at,omitzero"`
	// ProviderAt is when a federated person last signed in at their provider again; zero if never.
	ProviderAt time.Time `json:"provider_at,omitzero"`
}

// profile is who the person was at sign-in: what a page or client shows without asking the store.
type profile struct {
	ID                string            `json:"id"`
	Email             string            `json:"email"`
	Name              string            `json:"name"`
	Audience          contract.Audience `json:"audience"`
	Organization      string            `json:"organization,omitempty"`
	MasterAdmin       bool              `json:"master_admin"`
	OrganizationAdmin bool              `json:"organization_admin"`
	Federated         bool              `json:"federated"`
}

func profileOf(u user) profile {
	return profile{u.User, u.Email, u.Name, u.Audience, u.Organization, u.MasterAdmin, u.OrganizationAdmin, u.Federated}
}

func (s session) account() contract.Account {
	return contract.Account{Portal: s.Portal, User: s.User}
}

// first is the method of the first factor.
func (s session) first() string {
	if len(s.Methods) == 0 {
		return "pwd"
	}
	return s.Methods[0]
}

// live tells whether the session may be used at now.
func (s session) live(now time.Time) bool {
	return now.Before(s.ExpiresAt) && now.Before(s.SeenAt.Add(sessionIdle))
}

// steppedUp tells whether password and code were proved at most five minutes ago, by a step-up.
func (s session) steppedUp(now time.Time) bool {
	return !s.StepUpAt.IsZero() && now.Before(s.StepUpAt.Add(stepUpLife))
}

// fresh tells whether the person proved password and factor at most five minutes ago, by signing in or stepping up.
func (s session) fresh(now time.Time) bool {
	return s.steppedUp(now) || len(s.Methods) > 1 && now.Before(s.AuthTime.Add(stepUpLife))
}

// proven is fresh, for a person of whom it is known whether they have a factor: who has none proves all there is with
// the password.
func (s session) proven(hasFactor bool, now time.Time) bool {
	return s.fresh(now) || !hasFactor && now.Before(s.AuthTime.Add(stepUpLife))
}

// sessions keeps every live session of the installation in memory, fed by a watch of the bucket: a check costs no
// request to anybody, and a revocation anywhere is known here within milliseconds.
type sessions struct {
	kv  *bus.KV[session]
	now func() time.Time
	log *slog.Logger

	mu     sync.RWMutex
	byID   map[string]held
	byUser map[contract.Account]map[string]struct{}
	// ended holds what was revoked, and when: nothing that was read before may bring it back. Ids never come again.
	ended map[string]time.Time
}

type held struct {
	session
	revision uint64
	answer   []byte // of GET /v1/session
}

func openSessions(ctx context.Context, b *bus.Bus, now func() time.Time) (*sessions, error) {
	kv, err := bus.OpenKV[session](ctx, b, contract.Sessions)
	if err != nil {
		return nil, err
	}
	return &sessions{kv: kv, now: now, log: slog.New(slog.DiscardHandler), byID: make(map[string]held), byUser: make(map[contract.Account]map[string]struct{}), ended: make(map[string]time.Time)}, nil
}

// watch keeps the memory current until ctx ends; it returns when all there is was read.
func (s *sessions) watch(ctx context.Context) error { return s.kv.Watch(ctx, s.put) }

// put takes in what the bucket says of one key.
func (s *sessions) put(id string, v *session, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.byID[id]
	if known && old.revision >= revision {
		return // our own write came first
	}
	if v == nil {
		s.forget(id)
		s.ended[id] = s.now()
		return
	}
	if _, over := s.ended[id]; over {
		return
	}
	s.byID[id] = held{*v, revision, sessionJSON(*v)}
	who := v.account()
	if s.byUser[who] == nil {
		s.byUser[who] = make(map[string]struct{})
	}
	s.byUser[who][id] = struct{}{}
}

// forget removes a session from memory; the caller holds the lock.
func (s *sessions) forget(id string) {
	old, ok := s.byID[id]
	if !ok {
		return
	}
	delete(s.byID, id)
	who := old.account()
	if delete(s.byUser[who], id); len(s.byUser[who]) == 0 {
		delete(s.byUser, who)
	}
}

// sweep forgets what has ended by the clock, until ctx ends. The bucket drops it by itself.
func (s *sessions) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := s.now()
			s.mu.Lock()
			for id, h := range s.byID {
				if !h.live(now) {
					s.forget(id)
				}
			}
			for id, at := range s.ended {
				if now.Sub(at) > sessionLife {
					delete(s.ended, id)
				}
			}
			s.mu.Unlock()
		}
	}
}

// open keeps a new session, with an id and a token of its own and from the device of this request.
func (s *sessions) open(ctx context.Context, v session) (session, secret.String, error) {
	var token secret.String
	v.ID, token, v.Hash = newToken(sessionToken)
	v.AuthTime, v.SeenAt, v.Device = s.now(), s.now(), deviceOf(ctx)
	revision, err := s.kv.Create(ctx, v.ID, v)
	if err != nil {
		return session{}, secret.String{}, err
	}
	s.put(v.ID, &v, revision)
	return v, token, nil
}

// rise puts a session with more privilege in the place of one: a new id and token, the old ones dead. The new one ends
// when the old one would have. By is the factor that raised it, stands what must hold when the new one is written: where it
// does not, the old one goes on.
func (s *sessions) rise(ctx context.Context, old session, methods []string, by contract.Confirmation, stands func(context.Context) error) (session, secret.String, error) {
	v, token, err := s.open(ctx, session{
		Portal: old.Portal, User: old.User, Who: old.Who, Methods: methods, ExpiresAt: old.ExpiresAt, StepUpAt: old.StepUpAt,
		EnrolledAt: by.Since, Epoch: by.Epoch,
	})
	if err != nil {
		return session{}, secret.String{}, err
	}
	if err := stands(ctx); err != nil {
		s.takeBack(ctx, v)
		return session{}, secret.String{}, err
	}
	if err := s.end(ctx, old.ID); err != nil {
		s.takeBack(ctx, v)
		return session{}, secret.String{}, err
	}
	noteSession(ctx, s.log, v)
	return v, token, nil
}

var errUnauthenticated = contract.Refuse(contract.Unauthenticated, "Please sign in.")

// check returns the live session of a token. It reads memory only; where this gateway cannot see the bucket it
// refuses with unavailable, because a revocation might be missed. A session that is new and unknown here is read once.
func (s *sessions) check(ctx context.Context, token string) (session, error) {
	h, err := s.find(ctx, token)
	return h.session, err
}

// find is check, with what is kept beside the session.
func (s *sessions) find(ctx context.Context, token string) (held, error) {
	id, word, ok := parseToken(sessionToken, token)
	if !ok {
		return held{}, errUnauthenticated
	}
	if !s.kv.Fresh() {
		return held{}, contract.NotAnswering()
	}
	s.mu.RLock()
	h, known := s.byID[id]
	_, over := s.ended[id]
	s.mu.RUnlock()
	if over {
		return held{}, errUnauthenticated
	}
	if !known {
		v, revision, err := s.kv.Get(ctx, id)
		if errors.Is(err, bus.ErrKeyNotFound) {
			return held{}, errUnauthenticated
		}
		if err != nil {
			return held{}, err
		}
		if !sameToken(v.Hash, word) {
			return held{}, errUnauthenticated
		}
		s.put(id, &v, revision)
		h = held{v, revision, sessionJSON(v)}
	}
	now := s.now()
	if !sameToken(h.Hash, word) || !h.live(now) {
		return held{}, errUnauthenticated
	}
	if now.Sub(h.SeenAt) >= sessionTouch {
		if err := s.touch(ctx, h, now); err != nil {
			return held{}, err
		}
	}
	return h, nil
}

// touch writes down that a session is used: one write a minute, on what this gateway knows of it. Of many requests of one
// moment the first writes; the others find that it did, or that the session is over.
func (s *sessions) touch(ctx context.Context, h held, now time.Time) error {
	v, revision := h.session, h.revision
	for now.Sub(v.SeenAt) >= sessionTouch {
		v.SeenAt = now
		moved, err := s.kv.Update(ctx, v.ID, v, revision)
		if err == nil {
			s.put(v.ID, &v, moved)
			return nil
		}
		if !errors.Is(err, bus.ErrKeyChanged) {
			return err
		}
		if v, revision, err = s.kv.Get(ctx, h.ID); errors.Is(err, bus.ErrKeyNotFound) {
			return errUnauthenticated
		} else if err != nil {
			return err
		}
	}
	return nil
}

// change writes one session by compare-and-set and returns it as it is now. A lost race is run again on what the other
// writer left.
func (s *sessions) change(ctx context.Context, id string, f func(*session)) (session, error) {
	for {
		v, revision, err := s.kv.Get(ctx, id)
		if errors.Is(err, bus.ErrKeyNotFound) {
			return session{}, errUnauthenticated
		}
		if err != nil {
			return session{}, err
		}
		f(&v)
		revision, err = s.kv.Update(ctx, id, v, revision)
		if errors.Is(err, bus.ErrKeyChanged) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return session{}, err
		}
		s.put(id, &v, revision)
		return v, nil
	}
}

// end revokes one session, on every gateway. Here it is dead at once; where the bucket does not hear of it, it stays among
// those of its person, so that whoever tries again ends it everywhere.
func (s *sessions) end(ctx context.Context, id string) error {
	s.mu.Lock()
	s.ended[id] = s.now()
	s.mu.Unlock()
	if err := s.kv.Delete(ctx, id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(id)
	return nil
}

// takeBack ends a session that was not handed out. Where that fails it is there, and nobody has its token.
func (s *sessions) takeBack(ctx context.Context, v session) {
	if err := s.end(context.WithoutCancel(ctx), v.ID); err != nil {
		s.log.Warn("session that was not handed out is still there", slog.Any("error", err))
	}
}

// endOthers revokes a person's sessions but the given one ("" for all of them).
func (s *sessions) endOthers(ctx context.Context, who contract.Account, keep string) error {
	return s.endThose(ctx, who, func(v session) bool { return v.ID != keep })
}

// list returns a person's live sessions, the newest first.
func (s *sessions) list(who contract.Account) []session {
	now := s.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []session
	for id := range s.byUser[who] {
		if h := s.byID[id]; h.live(now) {
			out = append(out, h.session)
		}
	}
	slices.SortFunc(out, func(a, b session) int {
		return cmp.Or(b.AuthTime.Compare(a.AuthTime), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// endOwn revokes one of a person's own sessions; of any other id there is none.
func (s *sessions) endOwn(ctx context.Context, who contract.Account, id string) error {
	if !slices.ContainsFunc(s.list(who), func(v session) bool { return v.ID == id }) {
		return contract.Refuse(contract.NotFound, "There is no such session.")
	}
	return s.end(ctx, id)
}
