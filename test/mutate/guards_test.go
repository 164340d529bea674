package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The list is up to date: each condition stands where it is said to, once, and each test is there. Whether the tests
// notice is for `make mutate`, which takes minutes.
func TestEachGuardIsWhereTheListSays(t *testing.T) {
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range guards {
		if seen[g.Name] {
			t.Errorf("%s is there twice", g.Name)
		}
		seen[g.Name] = true
		source, err := os.ReadFile(filepath.Join(top, g.File))
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		if changed, err := g.apply(string(source)); err != nil || changed == string(source) {
			t.Errorf("%s: %v", g.Name, err)
		}
		for _, name := range strings.Split(g.Test, "|") {
			if !hasTest(t, filepath.Join(top, g.Package), name) {
				t.Errorf("%s: there is no %s in %s", g.Name, name, g.Package)
			}
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declared.Match(raw) {
			return true
		}
	}
	return false
}

func TestTheTableGoesBetweenItsMarks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "security.md")
	if err := os.WriteFile(file, []byte("before\n"+beginMark+"old\n"+endMark+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := insert(file, "new\n"); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if want := "before\n" + beginMark + "new\n" + endMark + "\nafter\n"; err != nil || string(raw) != want {
		t.Errorf("%q, %v", raw, err)
	}
	if err := insert(filepath.Join(t.TempDir(), "none.md"), ""); err == nil {
		t.Error("a table was written to nowhere")
	}
}

// The paper has the list as it is, and nothing of a run that went wrong.
func TestThePaperHasTheTable(t *testing.T) {
	top, err := root()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(top, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), beginMark)
	if has, _, ok := strings.Cut(rest, endMark); !ok || has != table(nil) {
		t.Error("docs/security.md has another table: go run ./test/mutate -list -o docs/security.md")
	}
}

// The table is that of all guards: a run of some of them does not write it.
func TestSomeGuardsWriteNoTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "security.md")
	if err := run(t.Context(), "sms", false, file); err == nil {
		t.Error("-only and -o were taken together")
	}
}
