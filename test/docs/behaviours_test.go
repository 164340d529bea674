package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of docs/behaviours.md is true: each behaviour has one, in order, with files that are there and tests that
// exist and carry its number.
func TestBehavioursAreProved(t *testing.T) {
	file := filepath.Join(root, "docs", "behaviours.md")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOfTheWorkspace(t)
	row := regexp.MustCompile(`^\| (B\d\d) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	code := regexp.MustCompile("`([^`]+)`")
	next := 1
	for line := range strings.Lines(string(raw)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		number := m[1]
		if want := fmt.Sprintf("B%02d", next); number != want {
			t.Fatalf("row %s stands where %s should", number, want)
		}
		next++
		places := code.FindAllStringSubmatch(m[3], -1)
		if len(places) == 0 {
			t.Errorf("%s lives nowhere", number)
		}
		for _, p := range places {
			if _, err := os.Stat(filepath.Join(root, p[1])); err != nil {
				t.Errorf("%s lives in %s, which is not there", number, p[1])
			}
		}
		named := 0
		for _, proof := range code.FindAllStringSubmatch(m[4], -1) {
			if !tests[proof[1]] {
				t.Errorf("%s is proved by %s, which is not there", number, proof[1])
			}
			if strings.Contains(proof[1], number) {
				named++
			}
		}
		if named == 0 {
			t.Errorf("no test that is listed for %s carries its number", number)
		}
	}
	if next != 41 {
		t.Errorf("the table ends before B%02d", next)
	}
	// And the other way round: a test that says it proves a behaviour is in its row.
	for name := range tests {
		for _, number := range regexp.MustCompile(`B\d\d`).FindAllString(strings.TrimPrefix(name, "Test"), -1) {
			line := regexp.MustCompile(`(?m)^\| ` + number + ` .*$`).FindString(string(raw))
			if strings.HasPrefix(name, "TestB") && !strings.Contains(line, "`"+name+"`") {
				t.Errorf("%s is not in the row of %s", name, number)
			}
		}
	}
}

// testsOfTheWorkspace are the names of all test functions.
func testsOfTheWorkspace(t *testing.T) map[string]bool {
	t.Helper()
	head := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	out := map[string]bool{}
	for _, top := range []string{"pkg", "services", "test"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "node_modules":
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
				return nil
			}
			raw, err := os.ReadFile(path)
			for _, m := range head.FindAllStringSubmatch(string(raw), -1) {
				out[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}
