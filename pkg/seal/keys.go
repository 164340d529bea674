package seal

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"sallyport/pkg/contract"
)

// Keys are the two boxes of a service.
type Keys struct {
	// Store seals what this service keeps.
	Store *Box
	// Bus seals the secret fields of messages.
	Bus *Box

	path    string
	service contract.Service

	// turn is held by the one who reads the file, which may ask AWS KMS; mu is for the fields below and is never held for long.
	turn  chan struct{}
	mu    sync.Mutex
	now   *content                        // what is in memory
	bad   os.FileInfo                     // the file that was refused last; nil once there is a good one
	fault error                           // why
	took  int                             // changed files that were taken in
	kept  map[Keyset][]*tinkpb.Keyset_Key // keys that sealed here and are in the file no more; they open, in memory alone
	told  func(error)                     // of each file that was taken in or refused
}

// Load reads the key file of a service, and asks AWS KMS where a key of it has wrapped the file. It refuses, by name, a
// file that is missing, readable by everybody, not a key file, of another service or of none, or that holds anything but
// enabled, random 256-bit AEAD keys: there is no default key.
func Load(path string, service contract.Service) (*Keys, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	c, err := read(ctx, path, service)
	if err != nil {
		return nil, err
	}
	k := &Keys{Store: &Box{}, Bus: &Box{}, path: path, service: service, turn: make(chan struct{}, 1), kept: make(map[Keyset][]*tinkpb.Keyset_Key)}
	if err := k.take(c); err != nil {
		return nil, err
	}
	k.Store.look, k.Bus.look = k.look, k.look
	return k, nil
}

// take makes the boxes use what a file says.
func (k *Keys) take(c *content) error {
	store, err := ready(k.with(c, Store))
	if err != nil {
		return fmt.Errorf("key file %s: %q: %w", k.path, Store, err)
	}
	bus, err := ready(k.with(c, Bus))
	if err != nil {
		return fmt.Errorf("key file %s: %q: %w", k.path, Bus, err)
	}
	k.Store.ring.Store(store)
	k.Bus.ring.Store(bus)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now, k.bad, k.fault = c, nil, nil
	return nil
}

// with is a keyset of a file, behind the keys that are kept in memory alone.
func (k *Keys) with(c *content, name Keyset) *tinkpb.Keyset {
	set := c.sets[name]
	out := &tinkpb.Keyset{PrimaryKeyId: set.GetPrimaryKeyId()}
	out.Key = append(slices.Clone(k.kept[name]), set.GetKey()...)
	return out
}

// Told has f called after each file that was taken in (nil) or refused (why), at most once for one file.
func (k *Keys) Told(f func(error)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.told = f
}

// Reload takes in the key file if it is another one than that in memory, and returns why a new one was refused. Nothing
// replaces good keys but a good file of the same service that holds the keys that seal now, or keys
// that came after them; one that was refused is tried again, since it may be AWS KMS that was away.
//
// A key that seals here and is not in the new file was retired while this process had not heard of its successor: it
// seals nothing more, and opens what it sealed for as long as the process runs. See [State].Retired.
func (k *Keys) Reload() error {
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	info, err := os.Stat(k.path)
	if err == nil && k.has(info) {
		return nil
	}
	return k.reload(info)
}

// lookWithin is how long a value under an unknown key waits for one who reads the file already, and may ask AWS KMS.
const lookWithin = time.Second

// look is [Keys.Reload] for a value under an unknown key, which may be a stranger's: it costs a look at the directory,
// and a file that was refused is not read again. It returns in about a second, whoever reads the file.
func (k *Keys) look() {
	t := time.NewTimer(lookWithin)
	defer t.Stop()
	select {
	case k.turn <- struct{}{}:
	case <-t.C:
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-k.turn }()
		k.lookNow()
	}()
	select {
	case <-done:
	case <-t.C:
	}
}

// lookNow is look by the one whose turn it is.
func (k *Keys) lookNow() {
	info, err := os.Stat(k.path)
	if err != nil || k.has(info) || k.refused(info) {
		return
	}
	_ = k.reload(info) // it was told
}

// has tells whether a file is the one in memory; then none is refused.
func (k *Keys) has(info os.FileInfo) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !same(info, k.now.info) {
		return false
	}
	k.bad, k.fault = nil, nil
	return true
}

// refused tells whether a file is the one that was refused last.
func (k *Keys) refused(info os.FileInfo) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return same(info, k.bad)
}

// reload reads the file, by the one whose turn it is.
func (k *Keys) reload(info os.FileInfo) error {
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	c, err := read(ctx, k.path, k.service)
	if err == nil {
		err = k.follows(c)
	}
	if err == nil {
		err = k.take(c)
	}
	k.mu.Lock()
	first := err == nil || k.fault == nil || k.fault.Error() != err.Error()
	if err != nil {
		k.bad, k.fault = info, err
	} else {
		k.took++
	}
	told := k.told
	k.mu.Unlock()
	if first && told != nil {
		told(err)
	}
	return err
}

// follows refuses a file that cannot be a later one: what is sealed at this moment would not open after a restart. Where the
// key that seals is gone and one that came after it is there, it was retired meanwhile: it is kept, to open.
func (k *Keys) follows(c *content) error {
	var late []Keyset
	for _, name := range []Keyset{Store, Bus} {
		now, next := k.now.sets[name], idsOf(c.sets[name])
		id := now.GetPrimaryKeyId()
		if slices.Contains(next, id) {
			continue
		}
		ids := idsOf(now)
		if !slices.ContainsFunc(ids[slices.Index(ids, id)+1:], func(after uint32) bool { return slices.Contains(next, after) }) {
			return fmt.Errorf("key file %s: %q: key %d, which seals now, is not in the new file", k.path, name, id)
		}
		late = append(late, name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, kept := range k.kept {
		k.kept[name] = slices.DeleteFunc(kept, func(key *tinkpb.Keyset_Key) bool { return slices.Contains(idsOf(c.sets[name]), key.GetKeyId()) })
	}
	for _, name := range late {
		now := k.now.sets[name]
		k.kept[name] = append(k.kept[name], now.GetKey()[slices.Index(idsOf(now), now.GetPrimaryKeyId())])
	}
	return nil
}

// same tells whether two looks saw one file. Whoever replaces a file makes a new one.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// State is what there is to know of the keys of a running service.
type State struct {
	// Taken counts the changed files that were taken in. Refused is why the file that lies there now was not.
	Taken   int
	Refused error
	// Retired are the keys that sealed here until the file held them no more; they open, while this process runs.
	Retired []uint32
	// Since is when the key that seals now began to; the zero time where the file does not say.
	Since map[Keyset]time.Time
	// Wrapped tells whether a key of AWS KMS wraps the file.
	Wrapped bool
}

// State tells it.
func (k *Keys) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	var retired []uint32
	for _, name := range []Keyset{Store, Bus} {
		for _, key := range k.kept[name] {
			retired = append(retired, key.GetKeyId())
		}
	}
	return State{
		Taken: k.took, Refused: k.fault, Wrapped: k.now.kms != "", Retired: retired,
		Since: map[Keyset]time.Time{Store: k.now.since[Store], Bus: k.now.since[Bus]},
	}
}
