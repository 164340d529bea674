package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"sallyport/pkg/contract"
)

// Files are the key files of an installation in the hands of an operator, who alone changes them meanwhile.
//
// A keyset is rotated in two steps, so that nobody seals with a key that a neighbour does not have: [Files.Add] puts a
// fresh key behind the one that seals, in every file that shares the keyset; then [Files.Use] makes it the one that seals.
// The order of the keys in a file says all there is to say of how far this is, so that it may be ended anywhere and is
// taken up by doing it again. The old keys stay, and open what they sealed, until [Files.Retire].
type Files struct {
	paths map[contract.Service]string
	all   map[contract.Service]*content
	wrong map[contract.Service]error // of the files that are not usable
	dir   string
	lock  *os.File
}

// ErrBusy is returned while somebody else changes the key files.
var ErrBusy = errors.New("the keys are being changed by somebody else")

// ReadFiles reads the key files without a lock, to look at them. What is wrong with one is said when it is needed.
func ReadFiles(ctx context.Context, paths map[contract.Service]string) *Files {
	f := &Files{paths: paths, all: make(map[contract.Service]*content), wrong: make(map[contract.Service]error)}
	for _, s := range f.services() {
		c, err := read(ctx, paths[s], s)
		if err != nil {
			f.wrong[s] = err
			continue
		}
		f.all[s] = c
	}
	return f
}

// LockFiles reads the key files, to change them; in dir lies the lock. [ErrBusy] while somebody else does. A process
// that dies gives its lock back.
func LockFiles(ctx context.Context, dir string, paths map[contract.Service]string) (*Files, error) {
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("key directory %s: %w", dir, ErrBusy)
		}
		return nil, errors.Join(err, lock.Close())
	}
	if err := ownLike(dir, lock.Name()); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	f := ReadFiles(ctx, paths)
	f.dir, f.lock = dir, lock
	return f, nil
}

// Close gives the lock back.
func (f *Files) Close() error {
	if f.lock == nil {
		return nil
	}
	return f.lock.Close()
}

func (f *Files) services() []contract.Service {
	out := make([]contract.Service, 0, len(f.paths))
	for s := range f.paths {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// Info is what there is to know of one keyset of one file, without its keys.
type Info struct {
	Primary uint32
	// Old are the keys that sealed before, Next those that wait to seal; both in the order in which they were added.
	Old, Next []uint32
	// Since is when the primary key began to seal; the zero time where the file does not say.
	Since time.Time
	// KMS is the key of AWS KMS that wraps the file.
	KMS string
}

// Info tells it, or what is wrong with the file.
func (f *Files) Info(s contract.Service, name Keyset) (Info, error) {
	c := f.all[s]
	if c == nil {
		return Info{}, f.wrong[s]
	}
	ids := idsOf(c.sets[name])
	at := slices.Index(ids, c.sets[name].GetPrimaryKeyId())
	return Info{Primary: ids[at], Old: ids[:at], Next: ids[at+1:], Since: c.since[name], KMS: c.kms}, nil
}

// Turn is how far the rotation of a keyset is.
type Turn struct {
	// Next is the key on its way; 0 where no rotation is unfinished.
	Next uint32
	// Lacking are the services whose file does not have it, Behind those that have it and do not seal with it.
	Lacking, Behind []contract.Service

	key *tinkpb.Keyset_Key
}

// sharers are the services that share a keyset: one, or all of them.
func (f *Files) sharers(name Keyset, s contract.Service) []contract.Service {
	if name == Bus {
		return f.services()
	}
	return []contract.Service{s}
}

// Turn looks how far the rotation of a keyset is; the bus keyset is that of all services, whichever is named. Files that
// cannot have come from one rotation are an error.
func (f *Files) Turn(name Keyset, s contract.Service) (Turn, error) {
	var t Turn
	all := f.sharers(name, s)
	known := make(map[uint32][]byte)
	for _, s := range all {
		if err := f.wrong[s]; err != nil {
			return t, err
		}
	}
	for _, s := range all {
		set := f.all[s].sets[name]
		keys := set.GetKey()
		for _, k := range keys {
			if was, ok := known[k.GetKeyId()]; ok && !bytes.Equal(was, k.GetKeyData().GetValue()) {
				return t, fmt.Errorf("two key files have different %q keys %d: one of them is of another installation", name, k.GetKeyId())
			}
			known[k.GetKeyId()] = k.GetKeyData().GetValue()
		}
		last := keys[len(keys)-1]
		if last.GetKeyId() == set.GetPrimaryKeyId() {
			continue
		}
		if t.key != nil && t.Next != last.GetKeyId() {
			return t, fmt.Errorf("in the key files two different keys wait to seal (%d and %d); copy the files of one place over the others", t.Next, last.GetKeyId())
		}
		t.key, t.Next = last, last.GetKeyId()
	}
	for _, s := range all {
		set := f.all[s].sets[name]
		ids, primary := idsOf(set), set.GetPrimaryKeyId()
		switch {
		case t.Next == 0:
			if first := f.all[all[0]].sets[name].GetPrimaryKeyId(); primary != first {
				return t, fmt.Errorf("the key files disagree: %s seals messages with key %d, and %s with %d; one of them is of another installation", all[0], first, s, primary)
			}
		case primary == t.Next:
		case slices.Contains(ids, t.Next):
			t.Behind = append(t.Behind, s)
		default:
			t.Lacking = append(t.Lacking, s)
		}
	}
	for _, s := range t.Lacking {
		if !f.hasElsewhere(name, s, all, t.Lacking) {
			return t, fmt.Errorf("the key file of %s has nothing in common with those of the other services: it is of another installation", s)
		}
	}
	return t, nil
}

// hasElsewhere tells whether the key with which a service seals is in the file of one that has the next key already.
func (f *Files) hasElsewhere(name Keyset, s contract.Service, all, lacking []contract.Service) bool {
	primary := f.all[s].sets[name].GetPrimaryKeyId()
	return slices.ContainsFunc(all, func(o contract.Service) bool {
		return !slices.Contains(lacking, o) && slices.Contains(idsOf(f.all[o].sets[name]), primary)
	})
}

// Add puts a key that does not seal yet into each file of a keyset, and returns its id. One that waits already, in some
// of the files or in all, is taken; it is not made twice.
func (f *Files) Add(ctx context.Context, name Keyset, s contract.Service) (uint32, error) {
	t, err := f.Turn(name, s)
	if err != nil {
		return 0, err
	}
	if t.Next == 0 {
		if t.key, err = f.freshKey(name, s); err != nil {
			return 0, err
		}
		t.Next, t.Lacking = t.key.GetKeyId(), f.sharers(name, s)
	}
	for _, s := range t.Lacking {
		err := f.change(ctx, s, func(c *content) { c.sets[name].Key = append(c.sets[name].Key, t.key) })
		if err != nil {
			return 0, err
		}
	}
	return t.Next, nil
}

// freshKey makes one whose id no other key has.
func (f *Files) freshKey(name Keyset, s contract.Service) (*tinkpb.Keyset_Key, error) {
	for {
		set, err := newKey()
		if err != nil {
			return nil, err
		}
		k := set.GetKey()[0]
		if !slices.ContainsFunc(f.sharers(name, s), func(s contract.Service) bool {
			return slices.Contains(idsOf(f.all[s].sets[name]), k.GetKeyId())
		}) {
			return k, nil
		}
	}
}

// Use makes the key that waits the one that seals, in each file of a keyset, and returns its id: 0 where none waits.
func (f *Files) Use(ctx context.Context, name Keyset, s contract.Service, now time.Time) (uint32, error) {
	t, err := f.Turn(name, s)
	if err != nil {
		return 0, err
	}
	if len(t.Lacking) > 0 {
		return 0, fmt.Errorf("the key file of %s does not have key %d yet", t.Lacking[0], t.Next)
	}
	for _, s := range t.Behind {
		err := f.change(ctx, s, func(c *content) {
			c.sets[name].PrimaryKeyId = t.Next
			c.since = sinceWith(c.since, name, now)
		})
		if err != nil {
			return 0, err
		}
	}
	return t.Next, nil
}

// Retire takes the old keys out of each file of a keyset, and returns their ids. What they sealed opens never again:
// the caller has made sure that nothing is left.
func (f *Files) Retire(ctx context.Context, name Keyset, s contract.Service) ([]uint32, error) {
	t, err := f.Turn(name, s)
	if err != nil {
		return nil, err
	}
	if t.Next != 0 {
		return nil, fmt.Errorf("a rotation is unfinished: key %d does not seal everywhere yet", t.Next)
	}
	var gone []uint32
	for _, s := range f.sharers(name, s) {
		info, err := f.Info(s, name)
		if err != nil {
			return nil, err
		}
		old := info.Old
		if len(old) == 0 {
			continue
		}
		if err := f.change(ctx, s, func(c *content) { c.sets[name].Key = c.sets[name].Key[len(old):] }); err != nil {
			return nil, err
		}
		for _, id := range old {
			if !slices.Contains(gone, id) {
				gone = append(gone, id)
			}
		}
	}
	return gone, nil
}

// Wrap has a key of AWS KMS wrap the file of a service from now on, in place of another or of none; an empty name leaves
// it in clear.
func (f *Files) Wrap(ctx context.Context, s contract.Service, kms string) error {
	if err := f.wrong[s]; err != nil {
		return err
	}
	return f.change(ctx, s, func(c *content) { c.kms = kms })
}

// change replaces a key file by one that was read back and found good: at every moment there is a whole one, with the
// owner and the rights of the one before.
func (f *Files) change(ctx context.Context, s contract.Service, do func(*content)) error {
	c := f.all[s].clone()
	do(c)
	path, err := filepath.EvalSymlinks(f.paths[s])
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	raw, err := c.encode(ctx)
	if err != nil {
		return fmt.Errorf("key file %s is as it was: %w", path, err)
	}
	// The name is always the same one, so that a process that died here leaves nothing behind for long.
	next := filepath.Join(filepath.Dir(path), ".next-"+filepath.Base(path))
	if err := writeLike(path, next, raw); err != nil {
		return fmt.Errorf("key file %s is as it was: %w", path, err)
	}
	back, err := read(ctx, next, s)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("key file %s is as it was: %w", path, errors.Join(err, os.Remove(next)))
	}
	f.all[s] = back
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("key directory: %w", err)
	}
	return nil
}

// writeLike writes a file and puts it on disk, with the owner and the rights of another one.
func writeLike(like, path string, raw []byte) error {
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // beside the operator's key file
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		err = file.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err == nil {
		err = file.Chmod(info.Mode().Perm())
	}
	if err == nil {
		_, err = file.Write(raw)
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// ownLike gives a file that root has made to whose the directory is: they are to change keys without root, too.
func ownLike(dir, path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("key directory: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := os.Lchown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("key directory: %w", err)
	}
	return nil
}

// clone is a copy that may be changed.
func (c *content) clone() *content {
	d := &content{service: c.service, kms: c.kms, since: c.since, sets: make(map[Keyset]*tinkpb.Keyset)}
	for name, set := range c.sets {
		d.sets[name] = &tinkpb.Keyset{PrimaryKeyId: set.GetPrimaryKeyId(), Key: slices.Clone(set.GetKey())}
	}
	return d
}

func sinceWith(was map[Keyset]time.Time, name Keyset, now time.Time) map[Keyset]time.Time {
	out := map[Keyset]time.Time{name: now.UTC().Truncate(time.Second)}
	for n, t := range was {
		if n != name {
			out[n] = t
		}
	}
	return out
}

func idsOf(set *tinkpb.Keyset) []uint32 {
	ids := make([]uint32, 0, len(set.GetKey()))
	for _, k := range set.GetKey() {
		ids = append(ids, k.GetKeyId())
	}
	return ids
}
