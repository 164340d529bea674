package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sallyport/pkg/contract"
)

// Group is a keyset that is rotated: of one service, or, without one, the bus keyset of all.
type Group struct {
	Service contract.Service `json:"service,omitempty"`
	// Was is the key that sealed when the rotation began.
	Was uint32 `json:"was"`
}

// Name says which keyset of the files it is.
func (g Group) Name() Keyset {
	if g.Service == "" {
		return Bus
	}
	return Store
}

// Intent is a rotation that was begun. It lies beside the key files until it is finished, so that a rotation that was
// killed rotates each keyset once, whenever it is taken up.
type Intent struct {
	BeganAt time.Time `json:"began_at"`
	Groups  []Group   `json:"groups"`
}

// Begun reads the rotation that was begun in a directory of key files; the zero value where there is none.
func Begun(dir string) (Intent, error) {
	var i Intent
	raw, err := os.ReadFile(intentFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return i, nil
	}
	if err != nil {
		return i, fmt.Errorf("key directory: %w", err)
	}
	if err := json.Unmarshal(raw, &i); err != nil {
		return i, fmt.Errorf("%s: not the note of a rotation", intentFile(dir))
	}
	return i, nil
}

func intentFile(dir string) string { return filepath.Join(dir, ".rotation.json") }

// Begin notes a rotation of these keysets, or returns the one that was begun before and is not finished. It changes no
// key yet.
func (f *Files) Begin(groups []Group, now time.Time) (_ Intent, resumed bool, err error) {
	i, err := Begun(f.dir)
	if err != nil || len(i.Groups) > 0 {
		return i, err == nil, err
	}
	i.BeganAt = now.UTC().Truncate(time.Second)
	for _, g := range groups {
		t, err := f.Turn(g.Name(), g.Service)
		if err != nil {
			return i, false, err
		}
		// Of a rotation whose note is lost, some files may seal with the new key already: those do not count.
		s := append(append(t.Behind, t.Lacking...), f.sharers(g.Name(), g.Service)...)[0]
		info, err := f.Info(s, g.Name())
		if err != nil {
			return i, false, err
		}
		g.Was = info.Primary
		i.Groups = append(i.Groups, g)
	}
	raw, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return i, false, err
	}
	next := intentFile(f.dir) + ".next"
	if err := writeSynced(next, raw); err != nil {
		return i, false, fmt.Errorf("key directory: %w", err)
	}
	if err := ownLike(f.dir, next); err != nil {
		return i, false, err
	}
	if err := os.Rename(next, intentFile(f.dir)); err != nil {
		return i, false, fmt.Errorf("key directory: %w", err)
	}
	return i, false, syncDir(f.dir)
}

// Finished tells whether a keyset of a rotation seals with another key than when it began, in every file.
func (f *Files) Finished(g Group) (bool, error) {
	t, err := f.Turn(g.Name(), g.Service)
	if err != nil {
		return false, err
	}
	info, err := f.Info(f.sharers(g.Name(), g.Service)[0], g.Name())
	return t.Next == 0 && info.Primary != g.Was, err
}

// End removes the note of a rotation.
func (f *Files) End() error {
	if err := os.Remove(intentFile(f.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("key directory: %w", err)
	}
	return syncDir(f.dir)
}
