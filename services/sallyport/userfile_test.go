package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// identityFile makes an age identity and a file of it.
func identityFile(t *testing.T, mode os.FileMode) (*age.X25519Identity, string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.txt")
	if err := os.WriteFile(path, []byte(id.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return id, path
}

// sealedText is a text sealed for an identity.
func sealedText(t *testing.T, text string, id *age.X25519Identity) string {
	t.Helper()
	var out strings.Builder
	w, end, err := sealTo(&out, []age.Recipient{id.Recipient()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What comes through a pipe is read twice like a file, and lies nowhere in clear meanwhile.
func TestB40ImportFromAPipeLeavesNothingInClear(t *testing.T) {
	const text = "{\"email\":\"a secret that nobody finds\"}\n"
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	id, identity := identityFile(t, 0o600)
	for what, in := range map[string]string{"in clear": text, "sealed": sealedText(t, text, id)} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(w, in)
			_ = w.Close()
		}()
		f := &peopleFile{}
		if f.identities, err = readIdentities(identity); err != nil {
			t.Fatal(err)
		}
		if err := f.keep(r); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			in, err := f.read()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(in); err != nil || string(got) != text {
				t.Errorf("%s: %q, %v", what, got, err)
			}
		}
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(f.file)
		if err != nil || strings.Contains(string(raw), "secret") {
			t.Errorf("%s: the copy is readable, %v", what, err)
		}
		if names, err := os.ReadDir(temp); err != nil || len(names) > 0 {
			t.Errorf("%s: the copy has a name: %v, %v", what, names, err)
		}
		f.close()
		_ = r.Close()
	}
}

func TestB40ImportOpensWhatIsSealedForItAlone(t *testing.T) {
	id, identity := identityFile(t, 0o600)
	_, other := identityFile(t, 0o600)
	_, open := identityFile(t, 0o644)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := sealedText(t, strings.Repeat("{}\n", 100_000), id)
	whole, half, none := file("whole", text), file("half", text[:len(text)/2]), file("none", "no identity")
	read := func(path, identity string) error {
		f, err := openPeople(path, identity)
		if err != nil {
			return err
		}
		defer f.close()
		in, err := f.read()
		if err == nil {
			_, err = io.Copy(io.Discard, in)
		}
		return err
	}
	if err := read(whole, identity); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"without an identity": read(whole, ""), "with another one": read(whole, other), "with one that all may read": read(whole, open),
		"with what is none": read(whole, none), "cut off": read(half, identity), "not there": read(filepath.Join(dir, "typo"), ""),
	} {
		if err == nil {
			t.Errorf("%s it opens", what)
		}
	}
}

// Bad lines of a sealed file are sealed for who opened it, and a bad file appears whole or not at all.
func TestB40ImportSealsBadLines(t *testing.T) {
	id, _ := identityFile(t, 0o600)
	path := filepath.Join(t.TempDir(), "bad")
	c := &userImportCommand{File: "people", SkipBad: path}
	for _, keep := range []bool{false, true} {
		bad, err := c.openBad(&peopleFile{sealed: true, identities: []age.Identity{id}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(bad.out(), "a bad line\n"); err != nil {
			t.Fatal(err)
		}
		if !keep {
			bad.drop()
			if names, err := os.ReadDir(filepath.Dir(path)); err != nil || len(names) > 0 {
				t.Errorf("a run that was cut short leaves %v, %v", names, err)
			}
			continue
		}
		if err := bad.keep(); err != nil {
			t.Fatal(err)
		}
		f := &peopleFile{identities: []age.Identity{id}}
		if f.file, err = os.Open(path); err != nil {
			t.Fatal(err)
		}
		defer f.close()
		in, err := f.read()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); err != nil || string(got) != "a bad line\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if bad, err := c.openBad(&peopleFile{}, 0); bad != nil || err != nil {
		t.Errorf("without bad lines: %v, %v", bad, err)
	}
}
