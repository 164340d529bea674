package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// peopleFile is a file of people that is read twice: once to look at all of it, once to move them. What comes over the
// standard input is kept meanwhile in a file that has no name, under a key that is nowhere but in this process.
type peopleFile struct {
	file *os.File
	// spool opens what came over the standard input; nil where the file is the operator's own.
	spool age.Identity
	// identities open a sealed file.
	identities []age.Identity
	// sealed tells that it is one.
	sealed bool
}

// openPeople opens a file, or the standard input for "-".
func openPeople(path, identityFile string) (_ *peopleFile, err error) {
	f := &peopleFile{}
	if f.identities, err = readIdentities(identityFile); err != nil {
		return nil, err
	}
	if path == "-" {
		return f, f.keep(os.Stdin)
	}
	if f.file, err = os.Open(path); err != nil { //nolint:gosec // the operator names the file
		return nil, wrong("%v", err)
	}
	if info, err := f.file.Stat(); err == nil && !info.Mode().IsRegular() { // a pipe
		in := f.file
		defer in.Close() //nolint:errcheck // it was only read
		return f, f.keep(in)
	}
	return f, nil
}

// keep copies what can be read once into a file without a name, sealed.
func (f *peopleFile) keep(in io.Reader) error {
	own, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("a key for the copy of the standard input: %w", err)
	}
	copied, err := os.CreateTemp("", "sallyport-people-*")
	if err != nil {
		return fmt.Errorf("a copy of the standard input: %w", err)
	}
	if err := os.Remove(copied.Name()); err != nil {
		return errors.Join(err, copied.Close())
	}
	w, err := age.Encrypt(copied, own.Recipient())
	if err == nil {
		if _, err = io.Copy(w, in); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("a copy of the standard input: %w", err), copied.Close())
	}
	f.file, f.spool = copied, own
	return nil
}

func (f *peopleFile) close() {
	if f.file != nil {
		_ = f.file.Close() // it was read, or has no name
	}
}

// read begins at the beginning, in clear. A sealed file that was cut off or changed is an error before its end.
func (f *peopleFile) read() (io.Reader, error) {
	if _, err := f.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var in io.Reader = f.file
	if f.spool != nil {
		var err error
		if in, err = age.Decrypt(in, f.spool); err != nil {
			return nil, err
		}
	}
	b := bufio.NewReader(in)
	head, err := b.Peek(len(armor.Header))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	const binary = "age-encryption.org/"
	switch {
	case string(head) == armor.Header:
		in = armor.NewReader(b)
	case bytes.HasPrefix(head, []byte(binary)):
		in = b
	default:
		return b, nil
	}
	f.sealed = true
	if len(f.identities) == 0 {
		return nil, wrong("the file is sealed with age: name the file of its identity with --identity")
	}
	in, err = age.Decrypt(in, f.identities...)
	if err != nil {
		return nil, wrong("--identity: the file does not open: %v", err)
	}
	return in, nil
}

// readIdentities reads an identity file of age-keygen; none where no path is given.
func readIdentities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, wrong("--identity: %v", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, wrong("--identity %s: everybody may read it (mode %04o); make it 0600", path, info.Mode().Perm())
	}
	ids, err := age.ParseIdentities(io.LimitReader(f, 64<<10))
	if err != nil {
		return nil, wrong("--identity %s: it is not an identity file of age-keygen", path) // the error may repeat a line of it
	}
	return ids, nil
}

// recipients are those who may open what an import writes of a sealed file: who opened it.
func (f *peopleFile) recipients() ([]age.Recipient, error) {
	var out []age.Recipient
	for _, id := range f.identities {
		switch id := id.(type) {
		case *age.X25519Identity:
			out = append(out, id.Recipient())
		case *age.HybridIdentity:
			out = append(out, id.Recipient())
		}
	}
	if len(out) == 0 {
		return nil, wrong("--skip-bad: the bad lines of a sealed file are sealed for its identity, which is of a kind that cannot do that")
	}
	return out, nil
}

// sealTo seals what is written to out, in text form. Both ends are closed by the function that is returned.
func sealTo(out io.Writer, to []age.Recipient) (io.Writer, func() error, error) {
	text := armor.NewWriter(out)
	w, err := age.Encrypt(text, to...)
	if err != nil {
		return nil, nil, err
	}
	return w, func() error {
		if err := w.Close(); err != nil {
			return err
		}
		return text.Close()
	}, nil
}
