package seal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/seal"
)

var three = []contract.Service{contract.TOTP, contract.SMSDispatcher, contract.Policy}

func generate(t *testing.T) (string, map[contract.Service]string) {
	t.Helper()
	dir := t.TempDir()
	paths, err := seal.Generate(dir, three, false)
	if err != nil {
		t.Fatal(err)
	}
	return dir, paths
}

func snapshot(t *testing.T, paths map[contract.Service]string) map[contract.Service][]byte {
	t.Helper()
	out := make(map[contract.Service][]byte)
	for s, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[s] = raw
	}
	return out
}

func restore(t *testing.T, paths map[contract.Service]string, from map[contract.Service][]byte) {
	t.Helper()
	for s, raw := range from {
		if err := os.WriteFile(paths[s], raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// B40: wherever a rotation of the shared keyset is killed, what any service seals opens at every other one, and running it again
// ends with the key that was on its way, not with another.
func TestB40ARotationMayBeKilledAnywhere(t *testing.T) {
	dir, paths := generate(t)
	begin := snapshot(t, paths)
	files := lock(t, dir, paths)
	next, err := files.Add(t.Context(), seal.Bus, "")
	if err != nil {
		t.Fatal(err)
	}
	added := snapshot(t, paths)
	if _, err := files.Use(t.Context(), seal.Bus, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	used := snapshot(t, paths)
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}

	// Of n files, those in mixed were written when it was killed; the order of writing must not matter.
	for mask := range 1 << len(three) {
		for name, step := range map[string][2]map[contract.Service][]byte{"adding": {begin, added}, "using": {added, used}} {
			if name == "adding" && mask == 0 {
				continue // nothing was written: another rotation
			}
			if name == "using" && mask == 1<<len(three)-1 {
				continue // all was written: it is finished
			}
			t.Run(fmt.Sprintf("%s/%03b", name, mask), func(t *testing.T) {
				for i, s := range three {
					restore(t, map[contract.Service]string{s: paths[s]}, map[contract.Service][]byte{s: step[mask>>i&1][s]})
				}
				place := seal.Place{"a", "b"}
				for _, from := range three {
					sealed, err := load(t, paths[from], from).Bus.Seal([]byte("x"), place)
					if err != nil {
						t.Fatal(err)
					}
					for _, to := range three {
						if _, err := load(t, paths[to], to).Bus.Open(sealed, place); err != nil {
							t.Errorf("%s does not open what %s sealed", to, from)
						}
					}
				}
				files := lock(t, dir, paths)
				defer files.Close() //nolint:errcheck // closed again by the clean-up
				if id, err := files.Add(t.Context(), seal.Bus, ""); err != nil || id != next {
					t.Fatalf("added %d, %v; want %d", id, err, next)
				}
				if id, err := files.Use(t.Context(), seal.Bus, "", time.Now()); err != nil || id != next {
					t.Fatalf("used %d, %v; want %d", id, err, next)
				}
				for _, s := range three {
					if got := load(t, paths[s], s).Bus; got.PrimaryKeyID() != next || len(got.KeyIDs()) != 2 {
						t.Errorf("%s seals with %d of %v", s, got.PrimaryKeyID(), got.KeyIDs())
					}
				}
			})
		}
	}
}

// A rotation of several keysets that was killed is finished once for each, and not begun again for those that were done.
func TestARotationRemembersWhatItBegan(t *testing.T) {
	dir, paths := generate(t)
	files := lock(t, dir, paths)
	groups := []seal.Group{{Service: contract.TOTP}, {Service: contract.Policy}, {}}
	first, resumed, err := files.Begin(groups, time.Now())
	if err != nil || resumed || len(first.Groups) != 3 {
		t.Fatalf("%+v, %v, %v", first, resumed, err)
	}
	if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Use(t.Context(), seal.Store, contract.TOTP, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil { // killed
		t.Fatal(err)
	}
	files = lock(t, dir, paths)
	again, resumed, err := files.Begin([]seal.Group{{Service: contract.SMSDispatcher}}, time.Now())
	if err != nil || !resumed || !slices.Equal(again.Groups, first.Groups) {
		t.Fatalf("%+v, %v, %v", again, resumed, err)
	}
	for i, want := range []bool{true, false, false} {
		if done, err := files.Finished(again.Groups[i]); err != nil || done != want {
			t.Errorf("group %d is finished: %v, %v", i, done, err)
		}
	}
	if err := files.End(); err != nil {
		t.Fatal(err)
	}
	if i, err := seal.Begun(dir); err != nil || len(i.Groups) != 0 {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestTwoRotationsAtOnce(t *testing.T) {
	dir, paths := generate(t)
	files := lock(t, dir, paths)
	if _, err := seal.LockFiles(t.Context(), dir, paths); !errors.Is(err, seal.ErrBusy) {
		t.Errorf("the second one: %v", err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	lock(t, dir, paths)
}

// Files that cannot have come from one rotation are not rotated.
func TestFilesOfAnotherInstallationAreNotRotated(t *testing.T) {
	for name, c := range map[string]struct {
		add   bool // a rotation of the others is on its way
		wants string
	}{
		"at rest":          {false, "another installation"},
		"in the middle":    {true, "another installation"},
		"one file missing": {false, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, paths := generate(t)
			_, others := generate(t)
			if c.add {
				files := lock(t, dir, map[contract.Service]string{contract.TOTP: paths[contract.TOTP], contract.SMSDispatcher: paths[contract.SMSDispatcher]})
				if _, err := files.Add(t.Context(), seal.Bus, ""); err != nil {
					t.Fatal(err)
				}
				_ = files.Close()
			}
			if name == "one file missing" {
				if err := os.Remove(paths[contract.Policy]); err != nil {
					t.Fatal(err)
				}
			} else {
				restore(t, map[contract.Service]string{contract.Policy: paths[contract.Policy]}, map[contract.Service][]byte{contract.Policy: snapshot(t, others)[contract.Policy]})
			}
			files := lock(t, dir, paths)
			if _, err := files.Add(t.Context(), seal.Bus, ""); err == nil || !strings.Contains(err.Error(), c.wants) {
				t.Errorf("%v, want %q", err, c.wants)
			}
			// What is not shared has nothing to do with it.
			if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRetiredKeysAreGone(t *testing.T) {
	dir, paths := generate(t)
	place := seal.Place{"a"}
	was := load(t, paths[contract.TOTP], contract.TOTP).Store
	sealed, err := was.Seal([]byte("x"), place)
	if err != nil {
		t.Fatal(err)
	}
	files := lock(t, dir, paths)
	if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Retire(t.Context(), seal.Store, contract.TOTP); err == nil || !strings.Contains(err.Error(), "unfinished") {
		t.Errorf("in the middle of a rotation: %v", err)
	}
	if _, err := files.Use(t.Context(), seal.Store, contract.TOTP, time.Now()); err != nil {
		t.Fatal(err)
	}
	if gone, err := files.Retire(t.Context(), seal.Store, contract.TOTP); err != nil || !slices.Equal(gone, []uint32{was.PrimaryKeyID()}) {
		t.Fatalf("%v, %v", gone, err)
	}
	if _, err := load(t, paths[contract.TOTP], contract.TOTP).Store.Open(sealed, place); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("it opens: %v", err)
	}
	if gone, err := files.Retire(t.Context(), seal.Store, contract.TOTP); err != nil || len(gone) != 0 {
		t.Errorf("again: %v, %v", gone, err)
	}
}

// A changed file has the rights of the one before, and nothing is left beside it.
func TestAChangedFileIsLikeTheOneBefore(t *testing.T) {
	dir, paths := generate(t)
	if err := os.Chmod(paths[contract.TOTP], 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".next-totp-svc.json"), []byte("of one that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := lock(t, dir, paths)
	if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(paths[contract.TOTP])
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".next-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A running service takes in what follows, at the latest when it meets a value under a key that it does not know, and
// keeps what it has when a file is not good.
func TestAKeyFileIsFollowed(t *testing.T) {
	dir, paths := generate(t)
	a, b := load(t, paths[contract.TOTP], contract.TOTP), load(t, paths[contract.SMSDispatcher], contract.SMSDispatcher)
	var told []error
	b.Told(func(err error) { told = append(told, err) })
	place := seal.Place{"a"}
	files := lock(t, dir, paths)
	next, err := files.Add(t.Context(), seal.Bus, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Use(t.Context(), seal.Bus, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	sealed, err := a.Bus.Seal([]byte("x"), place)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := seal.KeyID(sealed); !ok || id != next {
		t.Fatalf("sealed under %d, want %d", id, next)
	}
	if plain, err := b.Bus.Open(sealed, place); err != nil || string(plain) != "x" {
		t.Fatalf("a service that has not looked yet opens %q, %v", plain, err)
	}
	if b.Bus.PrimaryKeyID() != next || b.State().Taken != 1 {
		t.Errorf("it has taken in %d files, and seals with %d", b.State().Taken, b.Bus.PrimaryKeyID())
	}

	good := snapshot(t, paths)
	other, err := os.ReadFile(paths[contract.TOTP])
	if err != nil {
		t.Fatal(err)
	}
	_, strangers := generate(t)
	for name, c := range map[string]struct{ body, want string }{
		"half of one":          {string(good[contract.SMSDispatcher][:200]), "not a key file"},
		"another service's":    {string(other), "belongs to totp-svc"},
		"another installation": {string(snapshot(t, strangers)[contract.SMSDispatcher]), "which seals now, is not in the new file"},
	} {
		told = nil
		restore(t, map[contract.Service]string{contract.SMSDispatcher: paths[contract.SMSDispatcher]}, map[contract.Service][]byte{contract.SMSDispatcher: []byte(c.body)})
		for range 3 {
			if err := b.Reload(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if len(told) != 1 || b.State().Refused == nil {
			t.Errorf("%s: told %v, refused %v", name, told, b.State().Refused)
		}
		if plain, err := b.Bus.Open(sealed, place); err != nil || string(plain) != "x" {
			t.Errorf("%s: opens %q, %v", name, plain, err)
		}
	}
	restore(t, paths, good)
	if err := b.Reload(); err != nil || b.State().Refused != nil {
		t.Errorf("a good one again: %v", err)
	}
}

// A process that has the new key, and still seals with the old one when that is retired, seals with the new one from then
// on, and opens what it sealed. A file of before stays refused: what is sealed at this moment would not open with it.
func TestAKeyIsRetiredBehindALateReplica(t *testing.T) {
	dir, paths := generate(t)
	files, place := lock(t, dir, paths), seal.Place{"a"}
	before := snapshot(t, paths)
	next, err := files.Add(t.Context(), seal.Store, contract.TOTP)
	if err != nil {
		t.Fatal(err)
	}
	late := load(t, paths[contract.TOTP], contract.TOTP)
	was := late.Store.PrimaryKeyID()
	if _, err := files.Use(t.Context(), seal.Store, contract.TOTP, time.Now()); err != nil {
		t.Fatal(err)
	}
	sealed, err := late.Store.Seal([]byte("x"), place)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.Retire(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	if err := late.Reload(); err != nil {
		t.Fatal(err)
	}
	if plain, err := late.Store.Open(sealed, place); err != nil || string(plain) != "x" || !late.Store.Old(sealed) {
		t.Errorf("what it sealed opens as %q, %v", plain, err)
	}
	if got := late.Store.PrimaryKeyID(); got != next || !slices.Equal(late.State().Retired, []uint32{was}) {
		t.Errorf("it seals with %d, want %d; retired %v", got, next, late.State().Retired)
	}
	restore(t, paths, before)
	if err := late.Reload(); err == nil || !strings.Contains(err.Error(), "which seals now, is not in the new file") {
		t.Errorf("the file of before: %v", err)
	}
	if late.Store.PrimaryKeyID() != next {
		t.Error("it seals with the key of before again")
	}
}

// What root leaves in the directory belongs to whose the directory is: they go on without root.
func TestWhatRootLeavesIsTheOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir, paths := generate(t)
	const owner = 12345
	if err := os.Chown(dir, owner, owner); err != nil {
		t.Fatal(err)
	}
	files := lock(t, dir, paths)
	if _, _, err := files.Begin([]seal.Group{{Service: contract.TOTP}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".lock", ".rotation.json"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := info.Sys().(*syscall.Stat_t); !ok || s.Uid != owner || s.Gid != owner || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v of %d", name, info.Mode(), s.Uid)
		}
	}
}

func TestOldSaysWhatMustBeResealed(t *testing.T) {
	dir, paths := generate(t)
	k := load(t, paths[contract.TOTP], contract.TOTP)
	under := func() []byte {
		s, err := k.Store.Seal([]byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	files := lock(t, dir, paths)
	first := under()
	if _, err := files.Add(t.Context(), seal.Store, contract.TOTP); err != nil {
		t.Fatal(err)
	}
	late := load(t, paths[contract.TOTP], contract.TOTP) // has the new key, and does not seal with it
	if _, err := files.Use(t.Context(), seal.Store, contract.TOTP, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(); err != nil {
		t.Fatal(err)
	}
	second := under()
	if !k.Store.Old(first) || k.Store.Old(second) {
		t.Error("the value under the key before is old, the one under the key of now is not")
	}
	if late.Store.Old(first) || late.Store.Old(second) {
		t.Error("who is late must not bring a value back under the key before")
	}
	if !k.Store.Old([]byte("\x01\x00\x00\x00\x07xyz")) || !k.Store.Old(nil) {
		t.Error("what no key opens is old")
	}
}
