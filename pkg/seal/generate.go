package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"sallyport/pkg/contract"
)

// Generate makes sure that dir holds a key file for each service, mode 0600, and returns their paths. The services share
// a bus keyset; each has a store keyset of its own. Files that exist are kept, once they are known to be good. hasData
// says that the installation has kept something already: then a missing file is refused by name, because new keys would
// not open it. Without data the missing ones are made, so that a first start that was killed half-way is completed.
func Generate(dir string, services []contract.Service, hasData bool) (map[contract.Service]string, error) {
	paths := make(map[contract.Service]string, len(services))
	var missing []contract.Service
	ctx, cancel := context.WithTimeout(context.Background(), readWithin)
	defer cancel()
	var shared *content
	for _, s := range services {
		paths[s] = filepath.Join(dir, string(s)+".json")
		c, err := read(ctx, paths[s], s)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, s)
		case err != nil:
			return nil, err
		default:
			shared = c
		}
	}
	switch {
	case len(missing) == 0:
		return paths, nil
	case hasData && len(missing) == len(services):
		return nil, fmt.Errorf("key directory %s holds no key files, but there is data; without them what was sealed cannot be opened: restore them from a backup", dir)
	case hasData:
		var errs []error
		for _, s := range missing {
			errs = append(errs, fmt.Errorf("key file %s is missing; without it what that service sealed cannot be opened: restore it from a backup", paths[s]))
		}
		return nil, errors.Join(errs...)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	bus, kms := (*tinkpb.Keyset)(nil), ""
	if shared != nil {
		bus, kms = shared.sets[Bus], shared.kms
	} else {
		var err error
		if bus, err = newKey(); err != nil {
			return nil, err
		}
	}
	for _, s := range missing {
		own, err := newKey()
		if err != nil {
			return nil, err
		}
		raw, err := (&content{service: s, kms: kms, sets: map[Keyset]*tinkpb.Keyset{Store: own, Bus: bus}}).encode(ctx)
		if err != nil {
			return nil, fmt.Errorf("key file: %w", err)
		}
		if err := writeNew(paths[s], raw); err != nil {
			return nil, err
		}
	}
	// The names must be on disk before anything is sealed.
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("key directory: %w", err)
	}
	return paths, nil
}

// writeNew writes a file that is either whole and on disk, or not there. It replaces none: of two processes that start
// for the first time at once, one is refused.
func writeNew(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a second name of the key file, or half of one
	if _, err := f.Write(raw); err != nil {
		return errors.Join(fmt.Errorf("key file: %w", err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	return nil
}

// writeSynced writes a file of ours, over what was there, and returns when it is on disk.
func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // in our own data directory
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir puts the names in a directory on disk.
func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // our own data directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
