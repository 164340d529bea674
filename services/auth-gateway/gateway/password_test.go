package gateway

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"sallyport/pkg/config"
	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// What is kept of a password is argon2id, with the default cost that docs/decisions/passwords.md gives, and every
// character of it counts.
func TestAPasswordIsKeptAsArgon2idAndComparedAsTyped(t *testing.T) {
	s, err := config.Load[Settings](map[string]string{"NATS_URL": "nats://127.0.0.1:1", "MONGODB_URI": "mongodb://127.0.0.1:1", "KEYSET_FILE": "k", "PUBLIC_URL": "https://portal.example"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPasswords(s.Argon2Memory, s.Argon2Time, s.PasswordMemory)
	if err != nil {
		t.Fatal(err)
	}
	typed := "Seven gr\u00fcne umbrellas " + strings.Repeat("and one more ", 18)
	hash, err := p.hash(t.Context(), secret.New(typed))
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=7168,t=5,p=1$") || strings.Contains(hash, "umbrella") {
		t.Fatalf("kept as %q, %v", hash, err)
	}
	if ok, err := p.match(t.Context(), hash, secret.New(typed)); !ok || err != nil {
		t.Errorf("as it was typed: %v, %v", ok, err)
	}
	for how, other := range map[string]string{
		"another case": strings.ToLower(typed), "a space more": typed + " ", "the last character missing": typed[:len(typed)-1],
		"another form of a letter": strings.Replace(typed, "\u00fc", "u\u0308", 1), "cut off at 72 bytes": typed[:72],
	} {
		if ok, err := p.match(t.Context(), hash, secret.New(other)); ok || err != nil {
			t.Errorf("%s: %v, %v", how, ok, err)
		}
	}
	if again, err := p.hash(t.Context(), secret.New(typed)); err != nil || again == hash {
		t.Errorf("two hashes of one password are the same: no salt (%v)", err)
	}
}

// However many cores there are, hashes under way take no more memory together than there is room for; what wants more than
// all of it goes alone.
func TestHashesHaveTheirRoom(t *testing.T) {
	const roomMiB = 16
	p, err := newPasswords(64, 1, roomMiB)
	if err != nil {
		t.Fatal(err)
	}
	p.line = make(chan struct{}, 64) // a machine with many cores
	for takes, atOnce := range map[int64]int64{7 << 10: 2, 8 << 10: 2, 9 << 10: 1, 128 << 10: 1} {
		var under, most atomic.Int64
		var all errgroup.Group
		for range 12 {
			all.Go(func() error {
				return p.queue(t.Context(), takes, func() error {
					now := under.Add(1)
					for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
					}
					runtime.Gosched()
					under.Add(-1)
					return nil
				})
			})
		}
		if err := all.Wait(); err != nil || most.Load() > atOnce {
			t.Errorf("of those that take %d KiB %d were under way at once, want %d at the most (%v)", takes, most.Load(), atOnce, err)
		}
	}
	// Who has no room waits for it no longer than they have patience, and leaves nothing taken.
	if err := p.room.Acquire(t.Context(), p.mostRoom); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.queue(gone, 1, func() error { return nil }); contract.CodeOf(err) != contract.Unavailable {
		t.Errorf("without room: %v", err)
	}
	p.room.Release(p.mostRoom)
	if !p.room.TryAcquire(p.mostRoom) {
		t.Error("room is taken that nobody uses")
	}
}

// What a hash is said to take is what making it allocates.
func TestWhatAHashTakes(t *testing.T) {
	for stored, want := range map[string]int64{
		"$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$c3Vtc3Vtc3Vtc3Vtc3Vtcw":  64 << 10,
		"$scrypt$ln=15,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$c3Vtc3Vtc3Vtc3Vtc3VtcwAAAAAAAAAA": 32 << 10,
		"$2b$10$" + strings.Repeat(".", 53):                                             0,
		"":                                                                              0,
	} {
		if got := memoryOf(stored); got != want {
			t.Errorf("%s takes %d KiB, want %d", stored, got, want)
		}
	}
}
