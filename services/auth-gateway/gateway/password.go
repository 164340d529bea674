package gateway

import (
	"context"
	"fmt"
	"maps"
	"net/mail"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
	"sallyport/pkg/trace"
)

// passwords hashes with argon2id, never more at once than there are cores, and than there is room for: each hash takes its
// whole memory cost, and a crowd at the door must not take the machine's. The rest wait in line, for a bounded time.
type passwords struct {
	params argon2id.Params
	line   chan struct{} // a place for each core
	// room is what hashes may take at once, in KiB; all of it is mostRoom.
	room     *semaphore.Weighted
	mostRoom int64
	// dummy is compared where there is no account, so that its absence takes the same time.
	dummy string
	// recipe is that of our hashes; see [importedHash.recipe].
	recipe string
	// refused is how long a refusal takes at the least, where no hashes were imported.
	refused time.Duration
	// waited is told how many seconds each hash has waited in line; nil tells nobody.
	waited func(seconds float64)

	mu     sync.Mutex
	floors map[string]time.Duration // the same with imported hashes, by their forms
}

// hashPatience is how long a sign-in waits in line for its hash.
const hashPatience = 8 * time.Second

func newPasswords(memoryKiB, iterations, roomMiB uint32) (*passwords, error) {
	room := int64(roomMiB) << 10
	p := &passwords{
		params: argon2id.Params{Memory: memoryKiB, Iterations: iterations, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		line:   make(chan struct{}, runtime.GOMAXPROCS(0)), room: semaphore.NewWeighted(room), mostRoom: room,
	}
	var err error
	begun := time.Now() // real time: what a hash costs on this machine
	if p.dummy, err = argon2id.CreateHash("nobody's password", &p.params); err != nil {
		return nil, fmt.Errorf("argon2id: %w", err)
	}
	if h, refusal := parseHash(p.dummy); refusal == nil {
		p.recipe = h.recipe()
	}
	p.floors = make(map[string]time.Duration)
	p.refused = min(refusedLeast+2*time.Since(begun), refusedMost) // real time: the same
	return p, nil
}

// How long it takes to refuse a sign-in: a hash, and everything that is read of an account that is there, with room.
const (
	refusedLeast = 60 * time.Millisecond
	refusedMost  = time.Second
)

// floor is how long a refusal takes at the least where hashes of these forms were imported: what each costs is measured
// once.
func (p *passwords) floor(forms map[string]string) time.Duration {
	if len(forms) == 0 {
		return p.refused
	}
	names := strings.Join(slices.Sorted(maps.Keys(forms)), "\n")
	p.mu.Lock()
	defer p.mu.Unlock()
	least, known := p.floors[names]
	if !known {
		begun := time.Now() // real time: what the hashes cost on this machine
		for _, dummy := range forms {
			_, _ = compare(dummy, secret.New("nobody's password")) // for the time that it takes
		}
		least = p.refused + 2*time.Since(begun) // real time: the same
		p.floors[names] = least
	}
	return least
}

// even waits until a refusal is due that was asked for at begun. A document that is there takes longer to read than one
// that is not, by more than a network hides from somebody who asks a thousand times; what waits, takes as long for all.
func (p *passwords) even(ctx context.Context, begun time.Time, floor time.Duration) {
	rest := time.NewTimer(floor - time.Since(begun)) // real time: as measured from outside
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

// queue runs f, which takes so many KiB, when there is room for it and a core is free, or refuses with unavailable after
// [hashPatience]. What takes more than there is goes alone.
func (p *passwords) queue(ctx context.Context, takes int64, f func() error) error {
	takes = min(max(takes, 1), p.mostRoom)
	patience, cancel := context.WithTimeout(ctx, hashPatience)
	defer cancel()
	came := time.Now() // real time: how long people wait
	_, waiting := trace.Start(ctx, trace.Internal, "argon2id", "queue")
	tell := func() {
		if p.waited != nil {
			p.waited(time.Since(came).Seconds()) // real time: the same
		}
	}
	if p.room.Acquire(patience, takes) == nil {
		defer p.room.Release(takes)
		select {
		case p.line <- struct{}{}:
			defer func() { <-p.line }()
			tell()
			waiting.End(trace.OK, false)
			_, hashing := trace.Start(ctx, trace.Internal, "argon2id", "hash")
			defer hashing.End(trace.OK, false)
			return f()
		case <-patience.Done():
		}
	}
	tell()
	waiting.End(string(contract.Unavailable), true)
	return contract.Wait(contract.Unavailable, 5*time.Second, "Many people are signing in just now. Please try again in a moment.")
}

// judge compares a password with that of an account; one that is not there, or has none, takes the same time. Into a
// portal's accounts hashes may have been imported that cost more than ours, or less: while there are some (forms), every
// judgement takes the time of each form once, so that the time tells nobody whose account has which.
func (p *passwords) judge(ctx context.Context, u user, forms map[string]string, password secret.String) (bool, error) {
	if len(forms) == 0 {
		return p.match(ctx, u.Password, password)
	}
	stored, others := p.comparisons(u, forms)
	// One after the other: the largest counts.
	takes := memoryOf(stored)
	for _, dummy := range others {
		takes = max(takes, memoryOf(dummy))
	}
	var ok bool
	err := p.queue(ctx, takes, func() (err error) {
		ok, err = compare(stored, password)
		for _, dummy := range others {
			_, _ = compare(dummy, password) // for the time that it takes
		}
		return err
	})
	return ok && u.Password != "", err
}

// comparisons are the hashes that a password is compared with: that of the account, which counts, and others, for their
// time. Of all accounts of a portal they are made in the same ways: in ours, and in each of the forms.
func (p *passwords) comparisons(u user, forms map[string]string) (stored string, others []string) {
	stored, form := u.Password, u.HashForm
	if stored == "" {
		stored, form = p.dummy, ""
	}
	if form != "" && form != p.recipe {
		others = append(others, p.dummy)
	}
	for other, dummy := range forms {
		if other != form && other != p.recipe {
			others = append(others, dummy)
		}
	}
	return stored, others
}

// compare compares a password with a hash of any form that is read.
func compare(stored string, password secret.String) (bool, error) {
	h, refusal := parseHash(stored)
	if refusal != nil {
		// Of our own making, with another cost than is imported.
		return argon2id.ComparePasswordAndHash(password.Reveal(), stored)
	}
	return h.matches(password.Reveal())
}

// memoryOf is what a comparison with a hash takes, in KiB.
func memoryOf(stored string) int64 {
	if h, refusal := parseHash(stored); refusal == nil {
		return h.takes()
	}
	if params, _, _, err := argon2id.DecodeHash(stored); err == nil {
		return int64(params.Memory)
	}
	return 0 // it is no hash, and compares with nothing
}

// match compares a password with an account's hash. An empty hash (no account, no password) is compared with a dummy
// and never matches.
func (p *passwords) match(ctx context.Context, hash string, password secret.String) (bool, error) {
	stored := hash
	if stored == "" {
		stored = p.dummy
	}
	var ok bool
	err := p.queue(ctx, memoryOf(stored), func() (err error) {
		ok, err = compare(stored, password)
		return err
	})
	return ok && hash != "", err
}

// hash makes a new hash for an account.
func (p *passwords) hash(ctx context.Context, password secret.String) (string, error) {
	var out string
	err := p.queue(ctx, int64(p.params.Memory), func() (err error) {
		out, err = argon2id.CreateHash(password.Reveal(), &p.params)
		return err
	})
	return out, err
}

// canonicalEmail returns the form under which an address is one account: compatibility-normalized, lower case,
// without surrounding space. ok is false for what is no address.
func canonicalEmail(typed string) (string, bool) {
	if len(typed) > 254 {
		return "", false
	}
	// Normalized again in lower case: a letter with an accent may be one character there, and two in upper case (J̌, ǰ).
	s := norm.NFKC.String(strings.ToLower(norm.NFKC.String(strings.TrimSpace(typed))))
	a, err := mail.ParseAddress(s)
	if err != nil || len(s) > 254 || a.Address != s || a.Name != "" || strings.ContainsAny(s, "/ \t\r\n\"<>") {
		return "", false
	}
	return s, true
}
