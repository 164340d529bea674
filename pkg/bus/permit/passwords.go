package permit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sallyport/pkg/secret"
)

// Passwords are those of the users of one NATS.
type Passwords map[User]secret.String

// PasswordFile is where the password of a user is kept, in a directory of key files.
func PasswordFile(dir string, u User) string {
	return filepath.Join(dir, "nats-"+string(u)+".password")
}

// Generate makes the password of each user that has none in dir yet (128 random bits, mode 0600) and returns all of them.
func Generate(dir string) (Passwords, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("NATS passwords: %w", err)
	}
	all := make(Passwords)
	for _, u := range Users() {
		path := PasswordFile(dir, u)
		err := writeNew(path, rand.Text()+"\n")
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("NATS password: %w", err)
		}
		if all[u], err = Password(dir, u); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// writeNew writes a file that appears whole or not at all; [fs.ErrExist] if there is one.
func writeNew(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".password-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // a second name of the file, or half of one
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// Password reads the password of a user. A file that is empty, or that everybody may read, is refused.
func Password(dir string, u User) (secret.String, error) {
	path := PasswordFile(dir, u)
	info, err := os.Stat(path)
	if err != nil {
		return secret.String{}, fmt.Errorf("NATS password: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return secret.String{}, fmt.Errorf("NATS password %s: everybody may read it (mode %04o); make it 0600", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator's own data directory
	if err != nil {
		return secret.String{}, fmt.Errorf("NATS password: %w", err)
	}
	text := strings.TrimRight(string(raw), "\r\n")
	if text == "" {
		return secret.String{}, fmt.Errorf("NATS password %s: it is empty; delete it, and restart: a new one is made", path)
	}
	return secret.New(text), nil
}
