package totp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"sallyport/pkg/bus"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// regenerate answers [contract.TOTPRegenerate].
//
// A call makes one set. Its repetition cannot show the codes again, of which only hashes are kept, and must not
// replace them: a first attempt that comes late would kill the codes that the second one showed. It is refused, and
// the person asks again.
func (s *server) regenerate(ctx context.Context, req contract.RegenerateRequest) (contract.RegenerateReply, error) {
	var reply contract.RegenerateReply
	if err := checkAccount(req.Account); err != nil {
		return reply, err
	}
	g := s.guess(ctx, req.Account)
	codes, set := newRecoveryCodes(), bus.NewID()
	hashes := make([]string, 0, len(codes))
	for _, code := range codes {
		canonical, _ := canonicalRecoveryCode(code)
		hashes = append(hashes, recoveryHash(req.Account, set, canonical))
	}
	plain, err := json.Marshal(codes)
	if err != nil {
		return reply, fmt.Errorf("recovery codes: %w", err)
	}
	if reply.Codes, err = s.svc.Keys.Bus.SealField(secret.New(string(plain)), contract.PurposeRecoveryCodes, req.Account); err != nil {
		return reply, err
	}
	for range looks {
		ok, err := s.state.replaceSet(ctx, g, req.Epoch.Population, set, hashes)
		if err != nil {
			return contract.RegenerateReply{}, err
		}
		if ok {
			return reply, nil
		}
		doc, err := s.state.recoverySet(ctx, g.id)
		if err != nil {
			return contract.RegenerateReply{}, err
		}
		if doc.MadeBy == g.call {
			return contract.RegenerateReply{}, contract.Wait(contract.Unavailable, time.Second, "The new codes were made but could not be shown. Please make new ones.")
		}
	}
	return contract.RegenerateReply{}, errBusy()
}

// status answers [contract.TOTPStatus].
func (s *server) status(ctx context.Context, req contract.StatusRequest) (contract.TOTPStatusReply, error) {
	return s.office.Status(ctx, req.Account)
}

// recover answers [contract.TOTPRecover].
func (s *server) recover(ctx context.Context, req contract.RecoverRequest) (contract.RecoverReply, error) {
	spent, r, err := s.spend(ctx, req)
	count(s.metrics.recoveries, r)
	if err != nil {
		return contract.RecoverReply{}, err
	}
	return contract.RecoverReply{Recovery: spent.Recovery, CodesLeft: spent.Left}, nil
}

func (s *server) spend(ctx context.Context, req contract.RecoverRequest) (recovery, result, error) {
	typed, err := s.typed(req.Account, req.Code)
	if err != nil {
		return recovery{}, "", err
	}
	code, ok := canonicalRecoveryCode(typed.Reveal())
	if !ok {
		doc, err := s.state.recoverySet(ctx, documentID(req.Account))
		if err != nil {
			return recovery{}, "", err
		}
		r, refusal := refuseMalformed(doc.Guess, s.now())
		return recovery{}, r, refusal
	}
	g := s.guess(ctx, req.Account)
	for range looks {
		doc, ok, err := s.state.countRecovery(ctx, g)
		if err != nil {
			return recovery{}, "", err
		}
		if !ok {
			switch {
			case doc.accepted(g.call):
				return doc.Accepted[slot(g.call)], repeated, nil
			case doc.counted(g.call):
				// Counted before; how it ended, nobody knows. It is compared below.
			case !doc.Guess.Allowed(g.now):
				return recovery{}, closed, refuseLocked(doc.Guess, g.now)
			default:
				continue // the document changed between the two looks
			}
		}
		g.first = ok
		return s.claim(ctx, g, req, doc, code)
	}
	return recovery{}, "", errBusy()
}

// claim decides about a recovery code, a guess that was counted.
func (s *server) claim(ctx context.Context, g guess, req contract.RecoverRequest, doc recoverySet, code string) (recovery, result, error) {
	who := req.Account
	r := recovery{Call: g.call, Recovery: bus.NewID()}
	failures := doc.Guess
	for range looks {
		hash, ok := doc.holds(who, req.Epoch.Population, code)
		if !ok {
			if _, locked := failures.LockedUntil(g.now); locked {
				s.svc.Log.WarnContext(ctx, "recovery codes locked after wrong ones", slog.String("portal", who.Portal),
					slog.String("user", who.User), slog.Int("failures", failures.Failures))
				if g.first {
					s.metrics.locked(lockOfRecovery, failures)
				}
			}
			return recovery{}, g.came(wrong), refuseWrong(failures, g.now)
		}
		r.Left = doc.Left - 1
		letter, err := bus.NewLetter(ctx, contract.FactorRecovered, "recovery-"+r.Recovery,
			contract.RecoveryFact{Account: who, Recovery: r.Recovery, CodesLeft: r.Left, At: g.now}, g.now)
		if err != nil {
			return recovery{}, "", err
		}
		if err := s.svc.Outbox.Note(ctx, recoverySets, g.id, letter); err != nil {
			return recovery{}, "", err
		}
		ok, err = s.state.spend(ctx, g, doc, hash, r, letter)
		if err != nil {
			return recovery{}, "", err
		}
		if ok {
			s.svc.Outbox.Relay(recoverySets, g.id, letter)
			return r, right, nil
		}
		// Another code of the set was spent, or this one: perhaps by this very call, whose reply was lost.
		if doc, err = s.state.recoverySet(ctx, g.id); err != nil {
			return recovery{}, "", err
		}
		if doc.accepted(g.call) {
			return doc.Accepted[slot(g.call)], repeated, nil
		}
	}
	return recovery{}, "", errBusy()
}

// accepted tells whether this call spent a code.
func (r recoverySet) accepted(call string) bool { return r.Accepted[slot(call)].Call == call }

// counted tells whether this call's guess was counted.
func (r recoverySet) counted(call string) bool { return r.Counted[slot(call)].Call == call }
